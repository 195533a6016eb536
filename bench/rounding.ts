/**
 * @file What drawing tokens costs: on the host, and in the graph (graph/operators/draw.ts).
 *
 *   npx tsx bench/rounding.ts [--rows 64] [--vocabulary 8192] [--scale 2] [--rounds 30] [--threads 1]
 *
 * Logits are sums of three uniform numbers, as wide as --scale says; times are the least of all rounds. Handing the logits over counts
 * with the graph here, in a step of writing with the host.
 */
import { parseArgs } from "node:util";
import { drawTokens, type GraphModule, input } from "../src/graph/index.js";
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

type Options = Readonly<Record<"temperature" | "topK" | "topP", number>>;
const settings: readonly (readonly [string, Options])[] = [
  ["temperature 1", { temperature: 1, topK: 0, topP: 1 }],
  ["temperature 0.8, top-p 0.95", { temperature: 0.8, topK: 0, topP: 0.95 }],
  ["temperature 0.8, top-k 50", { temperature: 0.8, topK: 50, topP: 1 }],
];
const floats = (data: Float32Array, shape = [data.length]) => ({ dtype: "float32" as const, shape, data });
const feedsOf = (options: Options) => ({
  logits: floats(logits, [rows, vocabulary]),
  uniform: floats(uniforms),
  ...Object.fromEntries(Object.entries(options).map(([name, x]) => [name, floats(Float32Array.of(x))])),
});
function drawModule({ topK, topP }: Options): GraphModule {
  const setting = (name: string, given: boolean) => (given ? input(name, "float32", [1]) : null);
  const { id, confidence } = drawTokens(input("logits", "float32", [rows, vocabulary]), {
    uniform: input("uniform", "float32", [rows]),
    temperature: setting("temperature", true),
    topK: setting("topK", topK > 0),
    topP: setting("topP", topP < 1),
  });
  return { name: "draw", outputs: { id, confidence } };
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
console.log(
  `${rows} rows of ${vocabulary} logits; milliseconds on the host, and in the graph with ${threads} threads`,
);
for (const [name, options] of settings) {
  const program = await device.compile(drawModule(options));
  const host = await least(() => roundLogits(logits, vocabulary, uniforms, options));
  const known = new Set(program.program.inputs.map((x) => x.name));
  const feeds = Object.fromEntries(Object.entries(feedsOf(options)).filter(([key]) => known.has(key)));
  const graph = await least(() => program.run(feeds));
  console.log(`  ${name.padEnd(30)} ${host.toFixed(2).padStart(6)} ${graph.toFixed(2).padStart(6)}`);
}
await device.dispose();
