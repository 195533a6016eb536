/**
 * @file How fast ONNX Runtime multiplies in eight bits, kernel by kernel, over float32, at the shapes of `bench-small`: why
 * linear-int8.ts and mean-int8.ts take the kernels they take. Products alone; rounding comes beside it where a kernel does not round.
 *
 *   npx tsx bench/int8.ts [--threads 1] [--rounds 12]
 */
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import {
  apply,
  constant,
  definePrimitive,
  gather,
  input,
  int8Range,
  leavesOf,
  linearInt8,
  lower,
  matmul,
  packInt8,
  quantizeRows,
  rootsOf,
  type Tensor,
} from "../src/graph/index.js";
import { meanInt8, packTable } from "../src/graph/operators/mean-int8.js";
import { createDevice, leastTimes, totalTime } from "../src/runtime/index.js";

const { values: flags } = parseArgs({
  options: { threads: { type: "string", default: "1" }, rounds: { type: "string", default: "12" } },
});
const shapes = [
  [2048, 256, 256],
  [512, 256, 512],
  [512, 512, 256],
  [2048, 128, 8192],
  [2048, 8192, 128],
] as const;

/** An operator that is only timed: [R, K] with [K, N] -> [R, N]. */
const timed = (type: string, domain: "" | "com.microsoft", places?: readonly (number | null)[]) =>
  definePrimitive<object>({
    name: type,
    infer: ([x, w]) => [
      { dtype: type === "MatMulInteger" ? "int32" : "float32", shape: [x.shape[0], w.shape[1]] },
    ],
    onnx: () => ({ type, domain, places }),
    evaluate: () => {
      throw new Error("timed only");
    },
  });
const integer = timed("MatMulInteger", "");
const toFloat = timed("MatMulIntegerToFloat", "com.microsoft", [0, 1, 4, 5, 2]);
const dynamic = timed("DynamicQuantizeMatMul", "com.microsoft", [0, 1, 2]);

function variants(rows: number, inner: number, outer: number): Record<string, Tensor> {
  const weight = Float32Array.from({ length: inner * outer }, (_, i) => Math.sin(i));
  const x = input("x", "float32", [rows, inner]);
  const bytes = input("bytes", "uint8", [rows, inner]);
  const turned = new Float32Array(weight.length);
  for (let o = 0; o < outer; o++)
    for (let k = 0; k < inner; k++) turned[o * inner + k] = weight[k * outer + o];
  const packed = packInt8(turned, outer, inner, int8Range.full);
  const unsigned = constant(
    weight.map((w) => Math.round(127 * w) + 128),
    [inner, outer],
    "uint8",
  );
  const [zero, signedZero] = [constant(128, [], "uint8"), constant(0, [], "int8")];
  const product = (operator: Parameters<typeof apply>[0], inputs: Tensor[]) => apply(operator, inputs, {})[0];
  return {
    float32: matmul(x, constant(weight, [inner, outer])),
    "MatMulNBits 8": meanInt8(x, packTable(weight, inner, outer)),
    DynamicQuantizeMatMul: product(dynamic, [x, packed.q, packed.scales]),
    "MatMulInteger u8 u8": product(integer, [bytes, unsigned, zero, zero]),
    "MatMulInteger u8 s8": product(integer, [bytes, packed.q, zero, signedZero]),
    "MatMulIntegerToFloat u8 s8": product(toFloat, [
      bytes,
      packed.q,
      zero,
      signedZero,
      constant(1),
      packed.scales,
    ]),
    "ours, a scale a row": linearInt8(quantizeRows(x), packed),
  };
}

const device = await createDevice("cpu", { threads: Number(flags.threads) });
console.log(
  `${cpus()[0].model}, ${flags.threads} threads, load ${loadavg()[0].toFixed(1)}; least of ${flags.rounds} runs`,
);
for (const [rows, inner, outer] of shapes) {
  const floats = Float32Array.from({ length: rows * inner }, (_, i) => Math.sin(3 * i));
  const all = {
    x: { dtype: "float32" as const, shape: [rows, inner], data: floats },
    bytes: {
      dtype: "uint8" as const,
      shape: [rows, inner],
      data: Uint8Array.from(floats, (v) => 127 * v + 128),
    },
  };
  console.log(`[${rows}, ${inner}] x [${inner}, ${outer}]`);
  let float32 = 0;
  for (const [name, product] of Object.entries(variants(rows, inner, outer))) {
    // One row comes back, not all.
    const module = { name, outputs: { y: gather(product, constant(0, [1], "int64")) } };
    const inputs = [...leavesOf(lower(rootsOf(module)), "input").keys()] as (keyof typeof all)[];
    const feeds = Object.fromEntries(inputs.map((own) => [own, all[own]]));
    const runs = await device.profile(module, feeds, { runs: Number(flags.rounds) });
    const milliseconds = totalTime(leastTimes(runs)) / 1000;
    float32 ||= milliseconds;
    const rate = (2 * rows * inner * outer) / milliseconds / 1e6;
    console.log(
      `  ${name.padEnd(28)} ${milliseconds.toFixed(2).padStart(7)} ms ${rate.toFixed(0).padStart(5)} GFLOP/s ` +
        `${(float32 / milliseconds).toFixed(2)}x`,
    );
  }
}
await device.dispose();
