/**
 * @file What the runtime costs beside the graph: random numbers, the optimiser, the way to the worker thread and back.
 *
 *   npx tsx bench/runtime.ts
 *
 * Prints the median and the least of repeated calls, in milliseconds.
 */
import { median } from "../src/benchmark/statistics.js";
import { input, parameter, reduceSum } from "../src/graph/index.js";
import { CounterRandom, Stream } from "../src/random/index.js";
import { createDevice } from "../src/runtime/index.js";

async function measure(name: string, repeats: number, work: (i: number) => unknown): Promise<void> {
  const times: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    await work(i);
    times.push(performance.now() - start);
  }
  const [middle, least] = [median(times), Math.min(...times)].map((t) => t.toFixed(2).padStart(8));
  console.log(`${name.padEnd(58)} median ${middle}  least ${least} ms`);
}

const random = new CounterRandom(1);
const noise = new Float32Array(4096 * 128);
await measure("fillNormal, 524,288 elements", 40, (i) => random.fillNormal(noise, Stream.Noise, i, 0));
await measure("fillUniform, 524,288 elements", 40, (i) => random.fillUniform(noise, Stream.Absorb, i, 0));

const device = await createDevice("cpu");
const shape = [11_562, 1024]; // 11.8 M: as many as bench-small has
const parameters = await device.createParameters([{ name: "w", shape, trainable: true }], {
  training: true,
  ema: true,
});
const options = {
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-8,
  weightDecay: 0.1,
  maxGradNorm: 1,
  emaDecay: null,
};
await measure("AdamW with clipping, 11.8 M parameters", 20, (i) =>
  parameters.step({ ...options, step: i + 1 }),
);
await measure("AdamW with clipping and EMA, 11.8 M parameters", 20, (i) =>
  parameters.step({ ...options, emaDecay: 0.999, step: i + 1 }),
);
await measure("zeroGradients, 11.8 M parameters", 20, () => parameters.zeroGradients());
await measure("read values, 11.8 M parameters", 10, () => parameters.read("value"));

const size = 3_145_728; // 12 MiB
const x = input("x", "float32", [4, size / 4]);
const first = await device.compile({
  name: "read one feed",
  outputs: { y: reduceSum(input("s", "float32", [1]), [0]) },
});
await measure("run, 4 bytes of feeds", 200, () =>
  first.run({ s: { dtype: "float32", shape: [1], data: Float32Array.of(1) } }),
);
const sum = await device.compile({ name: "sum", outputs: { y: reduceSum(x, [0, 1]) } });
const feed = () => ({ x: { dtype: "float32" as const, shape: [4, size / 4], data: new Float32Array(size) } });
const kept = feed();
await measure("run (sum), 12 MiB of feeds, copied", 30, () => sum.run(kept));
const given = Array.from({ length: 30 }, feed);
for (const { x } of given) x.data.fill(1);
await measure("run (sum), 12 MiB of feeds, handed over", 30, (i) =>
  sum.run(given[i], { transferFeeds: true }),
);

const w = parameter("w", shape);
const gradients = await device.compile({ name: "gradient", outputs: {}, gradients: { w } });
await measure("run that returns its parameters as gradients, 11.8 M", 20, () =>
  gradients.run({}, { parameters }),
);
await device.dispose();
