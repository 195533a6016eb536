/**
 * @file How fast ONNX Runtime multiplies many rows with a small matrix, all at once and in slices that are joined again: why experts
 * multiply some 2,048 rows at a time, and what linear layers would gain by it.
 *
 *   npx tsx bench/row-slices.ts [--threads 1] [--shapes 4096x256x256,4096x768x768,8192x768x768,65536x256x256]
 *
 * A shape is rows x inner x outer. The least of six runs, twice in turn; copies are the cutting and the joining.
 */
import { parseArgs } from "node:util";
import { concat, input, matmul, slice } from "../src/graph/index.js";
import { createDevice, groupTimes, leastTimes, totalTime } from "../src/runtime/index.js";

const { values: flags } = parseArgs({
  options: {
    threads: { type: "string", default: "1" },
    shapes: { type: "string", default: "4096x256x256,4096x768x768,8192x768x768,65536x256x256" },
  },
});
const device = await createDevice("cpu", { threads: Number(flags.threads) });
const filled = (shape: readonly [number, number]) => ({
  dtype: "float32" as const,
  shape,
  data: Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.sin(i)),
});

/** Milliseconds, of the products alone and with the copies. */
async function measure(rows: number, inner: number, outer: number, size: number): Promise<[number, number]> {
  const [x, w] = [input("x", "float32", [rows, inner]), input("w", "float32", [inner, outer])];
  const starts = Array.from({ length: Math.ceil(rows / size) }, (_, i) => i * size);
  const parts = starts.map((start) => matmul(slice(x, 0, start, Math.min(rows, start + size)), w));
  const y = size < rows ? concat(parts, 0) : matmul(x, w);
  const feeds = { x: filled([rows, inner]), w: filled([inner, outer]) };
  const nodes = leastTimes(await device.profile({ name: "slices", outputs: { y } }, feeds, { runs: 6 }));
  const products = groupTimes(nodes, ({ operator }) => operator).find(({ flops }) => flops > 0);
  return [(products?.microseconds ?? 0) / 1000, totalTime(nodes) / 1000];
}

for (const shape of flags.shapes.split(",")) {
  const [rows, inner, outer] = shape.split("x").map(Number);
  const sizes = [rows, 4096, 2048, 1024, 512].filter((size, i) => i === 0 || size < rows);
  const least = sizes.map((): [number, number] => [Infinity, Infinity]);
  for (let turn = 0; turn < 2; turn++)
    for (const [i, size] of sizes.entries()) {
      const found = await measure(rows, inner, outer, size);
      least[i] = [Math.min(least[i][0], found[0]), Math.min(least[i][1], found[1])];
    }
  console.log(`${rows} x ${inner} times ${inner} x ${outer}, ${flags.threads} threads`);
  for (const [i, size] of sizes.entries()) {
    const [products, all] = least[i];
    const rate = (2 * rows * inner * outer) / products / 1e6;
    const over = (all / least[0][1]).toFixed(2);
    console.log(
      `  ${String(size).padStart(6)} rows at once ${all.toFixed(2).padStart(8)} ms (${over}); ` +
        `products ${products.toFixed(2)} ms, ${rate.toFixed(0)} GFLOP/s`,
    );
  }
}
await device.dispose();
