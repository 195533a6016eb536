/**
 * @file How fast ONNX Runtime multiplies many rows with a small matrix, and adds rows with equal index up, all at once and in slices that
 * are joined again: why experts multiply some 2,048 rows at a time, and `addRows` writes 4,096. Linear layers are not cut: of what they
 * would gain here little is left in a training step, where copies cost more (docs/performance.md).
 *
 *   npx tsx bench/row-slices.ts [--threads 1] [--shapes 4096x256x256,4096x768x768,8192x768x768,65536x256x256] [--sums 4096x128,65536x128]
 *
 * A shape is rows x inner x outer, or rows x columns, summed into a quarter as many rows. The least of six runs, twice in turn. Copies are
 * the cutting and the joining.
 */
import { parseArgs } from "node:util";
import {
  addRows,
  concat,
  expand,
  input,
  matmul,
  reshape,
  scatterElements,
  slice,
  type Tensor,
  type TensorData,
  zeros,
} from "../src/graph/index.js";
import { createDevice, groupTimes, leastTimes, totalTime } from "../src/runtime/index.js";

const { values: flags } = parseArgs({
  options: {
    threads: { type: "string", default: "1" },
    shapes: { type: "string", default: "4096x256x256,4096x768x768,8192x768x768,65536x256x256" },
    sums: { type: "string", default: "4096x128,65536x128" },
  },
});
const device = await createDevice("cpu", { threads: Number(flags.threads) });
const filled = (...shape: number[]): TensorData => ({
  dtype: "float32",
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i)),
});

interface Times {
  /** Milliseconds, of the products alone and of everything. */
  readonly products: number;
  readonly all: number;
}

async function measure(y: Tensor, feeds: Record<string, TensorData>): Promise<Times> {
  const nodes = leastTimes(await device.profile({ name: "slices", outputs: { y } }, feeds, { runs: 6 }));
  const products = groupTimes(nodes, ({ operator }) => operator).find(({ flops }) => flops > 0);
  return { products: (products?.microseconds ?? 0) / 1000, all: totalTime(nodes) / 1000 };
}

/** The least of each, measured in turn. */
async function inTurn(ways: readonly (() => Promise<Times>)[]): Promise<Times[]> {
  const least = ways.map(
    (): Times => ({ products: Number.POSITIVE_INFINITY, all: Number.POSITIVE_INFINITY }),
  );
  for (let turn = 0; turn < 2; turn++)
    for (const [i, way] of ways.entries()) {
      const { products, all } = await way();
      least[i] = { products: Math.min(least[i].products, products), all: Math.min(least[i].all, all) };
    }
  return least;
}

function product(rows: number, inner: number, outer: number, size: number): Promise<Times> {
  const [x, w] = [input("x", "float32", [rows, inner]), input("w", "float32", [inner, outer])];
  const starts = Array.from({ length: Math.ceil(rows / size) }, (_, i) => i * size);
  const parts = starts.map((start) => matmul(slice(x, 0, start, Math.min(rows, start + size)), w));
  const y = size < rows ? concat(parts, 0) : matmul(x, w);
  return measure(y, { x: filled(rows, inner), w: filled(inner, outer) });
}

function sum(rows: number, columns: number, inSlices: boolean): Promise<Times> {
  const [x, index] = [input("x", "float32", [rows, columns]), input("index", "int64", [rows])];
  const into = zeros([rows / 4, columns]);
  const everywhere = expand(reshape(index, [rows, 1]), [rows, columns]);
  const y = inSlices ? addRows(into, index, x) : scatterElements(into, everywhere, x, 0, "add");
  const places = BigInt64Array.from({ length: rows }, (_, i) => BigInt((i * 7919) % (rows / 4)));
  return measure(y, { x: filled(rows, columns), index: { dtype: "int64", shape: [rows], data: places } });
}

for (const shape of flags.shapes.split(",").filter(Boolean)) {
  const [rows, inner, outer] = shape.split("x").map(Number);
  const sizes = [rows, 4096, 2048, 1024, 512].filter((size, i) => i === 0 || size < rows);
  const least = await inTurn(sizes.map((size) => () => product(rows, inner, outer, size)));
  console.log(`${rows} x ${inner} times ${inner} x ${outer}, ${flags.threads} threads`);
  for (const [i, size] of sizes.entries()) {
    const { products, all } = least[i];
    const rate = (2 * rows * inner * outer) / products / 1e6;
    const over = (all / least[0].all).toFixed(2);
    console.log(
      `  ${String(size).padStart(6)} rows at once ${all.toFixed(2).padStart(8)} ms (${over}); ` +
        `products ${products.toFixed(2)} ms, ${rate.toFixed(0)} GFLOP/s`,
    );
  }
}
for (const shape of flags.sums.split(",").filter(Boolean)) {
  const [rows, columns] = shape.split("x").map(Number);
  const [atOnce, inSlices] = await inTurn([false, true].map((cut) => () => sum(rows, columns, cut)));
  const nanoseconds = ({ all }: Times) => ((all * 1e6) / rows / columns).toFixed(1);
  console.log(
    `sums of ${rows} rows of ${columns}: at once ${atOnce.all.toFixed(1)} ms (${nanoseconds(atOnce)} ns an element), ` +
      `as addRows cuts them ${inSlices.all.toFixed(1)} ms (${nanoseconds(inSlices)} ns)`,
  );
}
await device.dispose();
