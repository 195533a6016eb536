/**
 * @file What drawing tokens costs: on the host, and in the graph (graph/operators/draw.ts).
 *
 *   npx tsx bench/rounding.ts [--rows 64] [--vocabulary 8192] [--scale 2] [--rounds 30] [--threads 1]
 *
 * Logits are sums of three uniform numbers, as wide as --scale says; times are the least of all rounds. Handing the logits over counts
 * with the graph here, in a step of writing with the host.
 */
import { parseArgs } from "node:util";
import { type DrawOptions, drawTokens, type GraphModule, input } from "../src/graph/index.js";
import { CounterRandom, Stream } from "../src/random/index.js";
import { createDevice } from "../src/runtime/index.js";
import { roundLogits } from "../src/sampling/rounding.js";

const { values: flags } = parseArgs({
  options: {
    rows: { type: "string", default: "64" },
    vocabulary: { type: "string", default: "8192" },
    scale: { type: "string", default: "2" },
    rounds: { type: "string", default: "30" },
    threads: { type: "string", default: "1" },
  },
});
const [rows, vocabulary, scale, rounds, threads] = [
  flags.rows,
  flags.vocabulary,
  flags.scale,
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

const settings: readonly (readonly [string, DrawOptions])[] = [
  ["temperature 1", { temperature: 1, topK: 0, topP: 1 }],
  ["temperature 0.8, top-p 0.95", { temperature: 0.8, topK: 0, topP: 0.95 }],
  ["temperature 0.8, top-k 50", { temperature: 0.8, topK: 50, topP: 1 }],
];
const feeds = {
  logits: { dtype: "float32" as const, shape: [rows, vocabulary], data: logits },
  uniform: { dtype: "float32" as const, shape: [rows], data: uniforms },
};
const drawModule = (options: DrawOptions): GraphModule => {
  const given = [
    input("logits", "float32", [rows, vocabulary]),
    input("uniform", "float32", [rows]),
  ] as const;
  const { id, confidence } = drawTokens(...given, options);
  return { name: "draw", outputs: { id, confidence } };
};

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
console.log(
  `${rows} rows of ${vocabulary} logits; milliseconds on the host, and in the graph with ${threads} threads`,
);
for (const [name, options] of settings) {
  const program = await device.compile(drawModule(options));
  const host = await least(() => roundLogits(logits, vocabulary, uniforms, options));
  const graph = await least(() => program.run(feeds));
  console.log(`  ${name.padEnd(30)} ${host.toFixed(2).padStart(6)} ${graph.toFixed(2).padStart(6)}`);
}
await device.dispose();
