/**
 * @file How long a long document takes to write at the sizes of `bench-small`, against the plain loop (plain-model.ts).
 *
 *   npx tsx bench/sampling.ts [--preset masked] [--length 2048] [--steps 32] [--rounds 3] [--threads N] [--model DIR]
 *                             [--sampler NAME] [--block-length 512] [--cache-interval 4] [--sides REGULAR_EXPRESSION] [--peer PYTHON] [--json]
 *
 * With --peer (a Python that has PyTorch; Gaussian presets without --model) also DiffuSeq-v2's solver there, DPM-Solver++ 2M.
 *
 * Without --model the weights are those training starts from, with the vocabulary of the embedded corpus: speed does not depend on them.
 * Processor time, of all threads, is what to compare where other work runs beside (with --threads 1: threads that wait for each other spin).
 * Sides take turns; the texts of the plain loop and ours must be equal to the last token, those with int8 weights and in blocks are
 * others, as are those with cached keys and values. In the masked limit also half the steps with re-absorption, which is no worse (bench/quality.ts). In blocks the network runs as
 * often, on a part of the text: --steps are shared out among the blocks.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { writeDump } from "../src/benchmark/dump.js";
import { requirePeer, solverLevels, startPeer } from "../src/benchmark/peers.js";
import { median } from "../src/benchmark/statistics.js";
import type { StepProcess } from "../src/benchmark/step-process.js";
import type { GenerationConfig } from "../src/config/index.js";
import { embeddedCorpus, Tokenizer } from "../src/data/index.js";
import { denoiserParameters } from "../src/model/denoiser.js";
import { createDevice } from "../src/runtime/index.js";
import { DiffusionModel, generate } from "../src/sampling/index.js";
import { readPretrained } from "../src/sampling/pretrained.js";
import { PlainModel } from "./plain-model.js";
import { referenceStep } from "./reference-step.js";

const { values: flags } = parseArgs({
  options: {
    preset: { type: "string", default: "masked" },
    length: { type: "string", default: "2048" },
    steps: { type: "string", default: "32" },
    rounds: { type: "string", default: "3" },
    threads: { type: "string", default: String(availableParallelism()) },
    sampler: { type: "string", default: "auto" },
    "block-length": { type: "string", default: "512" },
    "cache-interval": { type: "string", default: "4" },
    sides: { type: "string", default: "." },
    model: { type: "string" },
    peer: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const [length, steps, rounds] = [flags.length, flags.steps, flags.rounds].map(Number);

async function untrained() {
  const { config, values } = referenceStep({ preset: flags.preset, documents: 1 });
  const texts = embeddedCorpus("train").map(({ text }) => text!);
  const tokenizer = await Tokenizer.train(texts, { vocabSize: config.model.vocabSize });
  return { config, tokenizer, weights: values };
}
const { config, tokenizer, weights } = flags.model ? await readPretrained(flags.model) : await untrained();
const device = await createDevice("cpu", { threads: Number(flags.threads) });
// A model for each side: a model keeps the last few programs only, and sides must not throw out one another's.
const ours = () => DiffusionModel.fromWeights(config, tokenizer, weights, { device });
const int8 = () => DiffusionModel.fromWeights(config, tokenizer, weights, { device, dtype: "q8" });
const blockLength = Number(flags["block-length"]);
const inBlocks = { blockLength, steps: Math.max(1, Math.round((steps * blockLength) / length)) };
const cached = { cacheInterval: Number(flags["cache-interval"]) };
const halved = { steps: Math.ceil(steps / 2), reabsorb: 0.25 };
const allSides = [
  { name: "plain loop", model: plain, own: {} },
  { name: "ours", model: ours, own: {} },
  { name: "int8 weights", model: int8, own: {} },
  ...(config.diffusion.gaussian ? [] : [{ name: "int8, half, reabsorb", model: int8, own: halved }]),
  { name: "cached", model: ours, own: cached },
  { name: "cached, int8", model: int8, own: cached },
  { name: "blocks", model: ours, own: inBlocks },
  { name: "blocks, int8 weights", model: int8, own: inBlocks },
  { name: "blocks, cached", model: ours, own: { ...inBlocks, ...cached } },
  { name: "blocks, cached, int8", model: int8, own: { ...inBlocks, ...cached } },
]
  .filter(({ name }) => /^(plain loop|ours)$/.test(name) || new RegExp(flags.sides).test(name))
  .map(async ({ name, model, own }) => ({
    name,
    model: await model(),
    own,
    milliseconds: [] as number[],
    processor: [] as number[],
    ids: [] as ArrayLike<number>,
  }));
const sides = await Promise.all(allSides);

async function plain(): Promise<PlainModel> {
  const parameters = await device.createParameters(denoiserParameters(config.model));
  await parameters.write("value", weights);
  return new PlainModel({ config, tokenizer, device, parameters });
}

const settings: Partial<GenerationConfig> = {
  length,
  steps,
  sampler: flags.sampler as GenerationConfig["sampler"],
  earlyStop: "off",
};
const folder = mkdtempSync(join(tmpdir(), "sampling-"));
const peer = flags.peer ? await peerOf(flags.peer) : null;
const peerMilliseconds: number[] = [];

/** The same weights, a canvas of the same length, the same number of network runs. */
async function peerOf(path: string): Promise<StepProcess> {
  const levels = flags.model ? null : solverLevels(config, steps);
  if (!levels) throw new Error("--peer: expected a Gaussian preset, no --model");
  const own = config.training.sequenceLength;
  if (length !== own)
    throw new Error(`--peer: expected --length ${own}, the positions it writes, got ${length}`);
  const { python } = await requirePeer(path, "--peer");
  writeDump(folder, referenceStep({ preset: flags.preset, documents: 1, batchSize: 1 }), levels);
  return startPeer(python, folder, { variant: "eager", threads: Number(flags.threads) });
}

for (let round = 0; round <= rounds; round++) {
  if (peer) {
    const { milliseconds } = await peer.ask("sample", { count: 1, steps });
    if (round > 0) peerMilliseconds.push(...milliseconds);
  }
  for (const side of sides) {
    const start = performance.now();
    const used = process.cpuUsage();
    const [{ ids }] = await generate(side.model, {}, { ...settings, ...side.own });
    side.ids = ids;
    if (round === 0) continue; // compiles
    side.milliseconds.push(performance.now() - start);
    const { user, system } = process.cpuUsage(used);
    side.processor.push((user + system) / 1000);
  }
}
await device.dispose();
await peer?.end();
rmSync(folder, { recursive: true });

const [first, second] = sides;
const equal =
  first.ids.length === second.ids.length && Array.from(first.ids).every((id, i) => id === second.ids[i]);
console.log(
  `${flags.model ?? flags.preset}, ${length} tokens, ${steps} steps, ${flags.threads} threads, ${cpus()[0].model}, ` +
    `load ${loadavg()[0].toFixed(1)}; texts of plain loop and ours ${equal ? "equal" : "DIFFER"}`,
);
for (const { name, milliseconds, processor } of sides)
  console.log(
    `  ${name.padEnd(20)} median ${(median(milliseconds) / 1000).toFixed(2)} s (min ` +
      `${(Math.min(...milliseconds) / 1000).toFixed(2)}), ${((1000 * length) / median(milliseconds)).toFixed(0)} tokens/s, ` +
      `${(median(first.milliseconds) / median(milliseconds)).toFixed(2)}x the plain loop; processor ` +
      `${(median(processor) / 1000).toFixed(2)} s, ${(median(first.processor) / median(processor)).toFixed(2)}x`,
  );
if (peer)
  for (const { name, milliseconds } of sides.slice(1))
    console.log(
      `  PyTorch, DPM-Solver++ 2M: median ${(median(peerMilliseconds) / 1000).toFixed(2)} s; over ${name}: ` +
        `${(median(peerMilliseconds) / median(milliseconds)).toFixed(2)}x`,
    );
if (flags.json)
  console.log(
    JSON.stringify({ flags, equal, sides: sides.map(({ name, milliseconds }) => ({ name, milliseconds })) }),
  );
if (!equal) process.exitCode = 1;
