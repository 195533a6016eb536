/**
 * @file What is gained by summing the squares of one bucket while the next one's gradients arrive: AdamW over ranks, in one go and with
 * all sums first. By itself, without a graph, so that many repetitions are cheap.
 *
 *   mpirun -n 2 node --import tsx bench/rank-exchange.ts
 */
import { alone, joinRanks } from "../src/distributed/index.js";
import { adamwStep } from "../src/runtime/adamw.js";
import { allocateBlock } from "../src/runtime/onnx-host.js";
import { ParameterLayout } from "../src/runtime/parameter-layout.js";
import { ParameterMemory } from "../src/runtime/parameter-memory.js";
import { RankExchange } from "../src/runtime/rank-exchange.js";

const REPETITIONS = 40;
const communicator = await joinRanks();
const specs = [{ name: "w", shape: [10_800, 1000], trainable: true }]; // as many as bench-small has
const options = {
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-8,
  weightDecay: 0.1,
  maxGradNorm: 1,
  emaDecay: 0.999,
};
for (const shardOptimizer of [false, true]) {
  const layout = new ParameterLayout(specs, { training: true, ema: true, shardOptimizer }, communicator);
  const blocks = layout.blockBytes.map((bytes) => allocateBlock(bytes));
  const parameters = new ParameterMemory(layout, blocks, communicator);
  const { buffers } = parameters;
  const times: Record<"overlapped" | "sums first", number[]> = { overlapped: [], "sums first": [] };
  for (let k = 1; k <= REPETITIONS; k++)
    for (const way of ["overlapped", "sums first"] as const) {
      for (const bucket of layout.buckets) layout.bucketView(buffers, "gradient", bucket).fill(1e-3);
      const exchange = new RankExchange(communicator, layout, buffers); // of one step
      await communicator.barrier();
      const start = performance.now();
      if (way === "overlapped") await adamwStep(parameters, { ...options, step: k }, exchange);
      else {
        for (const bucket of layout.buckets) await exchange.sumGradients(bucket);
        await adamwStep(parameters, { ...options, step: k }, new RankExchange(alone, layout, buffers));
        for (const bucket of layout.buckets) await exchange.shareValues(bucket);
      }
      times[way].push(performance.now() - start);
    }
  if (communicator.rank === 0)
    for (const [way, values] of Object.entries(times)) {
      const sorted = values.toSorted((a, b) => a - b);
      const [least, quarter, middle] = [0, REPETITIONS >> 2, REPETITIONS >> 1].map((i) =>
        sorted[i].toFixed(1),
      );
      const megabytes = (layout.byteLength / 1e6).toFixed(0);
      console.log(
        `${shardOptimizer ? "sharded" : "whole  "} (${megabytes} MB a rank)  ${way.padEnd(10)}  ` +
          `least ${least} ms, quartile ${quarter}, median ${middle}`,
      );
    }
}
