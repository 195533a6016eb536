/**
 * @file What drawing tokens costs: on the host, as it is done, and the cut of `topP` alone in the graph, by halving.
 *
 *   npx tsx bench/rounding.ts [--rows 64] [--vocabulary 8192] [--scale 2] [--halvings 24] [--rounds 30] [--threads 1]
 *
 * Logits are sums of three uniform numbers, as wide as --scale says; times are the least of all rounds. The graph finds the probability
 * above which a row's tokens have 0.95 of its mass, between 0 and 1; the draw itself and moving the logits are not counted.
 */
import { parseArgs } from "node:util";
import {
  add,
  cast,
  type GraphModule,
  greaterOrEqual,
  input,
  mul,
  reduceSum,
  softmax,
  sub,
  type Tensor,
  where,
} from "../src/graph/index.js";
import { CounterRandom, Stream } from "../src/random/index.js";
import { createDevice } from "../src/runtime/index.js";
import { roundLogits } from "../src/sampling/rounding.js";

const { values: flags } = parseArgs({
  options: {
    rows: { type: "string", default: "64" },
    vocabulary: { type: "string", default: "8192" },
    scale: { type: "string", default: "2" },
    halvings: { type: "string", default: "24" },
    rounds: { type: "string", default: "30" },
    threads: { type: "string", default: "1" },
  },
});
const [rows, vocabulary, scale, halvings, rounds, threads] = [
  flags.rows,
  flags.vocabulary,
  flags.scale,
  flags.halvings,
  flags.rounds,
  flags.threads,
].map(Number);

const random = new CounterRandom(1);
const uniform = (count: number, step: number) => {
  const out = new Float32Array(count);
  random.fillUniform(out, Stream.Synthetic, 0, step);
  return out;
};
const thrown = [1, 2, 3].map((step) => uniform(rows * vocabulary, step));
const logits = thrown[0].map((x, i) => scale * (x + thrown[1][i] + thrown[2][i]));
const uniforms = uniform(rows, 4);

/** For each row the probability above which its tokens have `share` of the mass, [rows, 1]. */
function cutModule(share: number): GraphModule {
  const p = softmax(mul(input("logits", "float32", [rows, vocabulary]), 1 / 0.8));
  const total = reduceSum(p, [-1], true);
  let low: Tensor = sub(total, total);
  let high: Tensor = add(low, 1);
  for (let i = 0; i < halvings; i++) {
    const middle = mul(add(low, high), 0.5);
    const above = reduceSum(mul(p, cast(greaterOrEqual(p, middle), "float32")), [-1], true);
    const enough = greaterOrEqual(above, mul(total, share));
    low = where(enough, middle, low);
    high = where(enough, high, middle);
  }
  return { name: "cut", outputs: { low } };
}

async function least(run: () => unknown): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    await run();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

const device = await createDevice("cpu", { threads });
const cut = await device.compile(cutModule(0.95));
const feeds = { logits: { dtype: "float32" as const, shape: [rows, vocabulary], data: logits } };
console.log(`${rows} rows of ${vocabulary} logits, ${threads} threads in the graph`);
for (const [name, options] of [
  ["host, temperature 1", {}],
  ["host, temperature 0.8, top-p 0.95", { temperature: 0.8, topP: 0.95 }],
  ["host, temperature 0.8, top-k 50", { temperature: 0.8, topK: 50 }],
] as const) {
  const milliseconds = await least(() => roundLogits(logits, vocabulary, uniforms, options));
  console.log(`  ${name.padEnd(36)} ${milliseconds.toFixed(2)} ms`);
}
console.log(
  `  ${`graph, top-p 0.95, ${halvings} halvings`.padEnd(36)} ${(await least(() => cut.run(feeds))).toFixed(2)} ms`,
);
await device.dispose();
