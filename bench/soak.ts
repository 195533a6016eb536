/**
 * @file A long run: 2,000 training steps from a token cache, with validations and checkpoints, resident memory sampled all along.
 * Says whether it is flat: after the warm-up, the median of the last of ten stretches is at most 2 % above the lowest.
 *
 *     npx tsx bench/soak.ts [--steps 2000] [--warm-up 500] [--preset moe-diffuseq] [--threads 1] [--data FILE]
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { median } from "../src/benchmark/statistics.js";
import { type PartialRunConfig, type PresetName, presets, runConfigSchema } from "../src/config/index.js";
import { mergeConfig } from "../src/config/layers.js";
import { embeddedCorpus } from "../src/data/index.js";
import { train } from "../src/training/trainer.js";

const { values: flags } = parseArgs({
  options: {
    steps: { type: "string", default: "2000" },
    "warm-up": { type: "string", default: "500" },
    preset: { type: "string", default: "moe-diffuseq" },
    threads: { type: "string", default: "1" },
    data: { type: "string" },
  },
});
const STRETCHES = 10;
const BOUND = 0.02;
const [steps, warmUp] = [Number(flags.steps), Number(flags["warm-up"])];
const folder = mkdtempSync(join(tmpdir(), "moe-diffuseq-"));
const texts = flags.data ?? join(folder, "texts.jsonl");
if (!flags.data)
  writeFileSync(
    texts,
    embeddedCorpus("train")
      .map(({ text }) => `${JSON.stringify({ text })}\n`)
      .join(""),
  );
const cache = join(folder, "cache");
// In a process of its own, so that nothing it needed is left in this one.
const options = join(folder, "prepare.json");
writeFileSync(options, JSON.stringify({ data: [texts], vocabSize: 1024, out: cache }));
execFileSync(process.execPath, ["--import", "tsx", "src/data/cache/testing/prepare-child.ts", options]);

const small: PartialRunConfig = {
  model: {
    vocabSize: 1024,
    embeddingSize: 32,
    hiddenSize: 64,
    numLayers: 2,
    numHeads: 2,
    feedForwardSize: 96,
    attention: { window: 32, globalTokens: 2 },
    experts: { numExperts: 4, intermediateSize: 48 },
  },
  training: {
    batchSize: 2,
    sequenceLength: 256,
    maxSteps: steps,
    evalEvery: 100,
    evalSequences: 8,
    checkpointEvery: 100,
    logEvery: 10,
  },
  data: { train: [cache] },
};
const config = runConfigSchema.parse(
  mergeConfig(presets[flags.preset as PresetName] as PartialRunConfig, small),
);
// What stays resident, not when a collector last came by: here it is called; in the worker thread, which makes some kilobytes of garbage
// a step, it comes every megabyte instead of every sixteen.
setFlagsFromString("--expose-gc");
setFlagsFromString("--max-semi-space-size=1");
const collect = runInNewContext("gc") as () => void;
const samples: { step: number; megabytes: number }[] = [];
await train({
  config,
  out: join(folder, "run"),
  threads: Number(flags.threads),
  onEvent: (event) => {
    if (event.kind !== "step" || event.metrics.step % 10 !== 0) return;
    const { step } = event.metrics;
    collect();
    samples.push({ step, megabytes: process.memoryUsage().rss / 1e6 });
    if (step % 100 === 0) process.stderr.write(`\rstep ${step}: ${samples.at(-1)!.megabytes.toFixed(0)} MB `);
  },
});
rmSync(folder, { recursive: true });

const after = samples.filter(({ step }) => step > warmUp);
const medians = Array.from({ length: STRETCHES }, (_, i) => {
  const part = after.slice((i * after.length) / STRETCHES, ((i + 1) * after.length) / STRETCHES);
  return median(part.map(({ megabytes }) => megabytes));
});
const growth = medians.at(-1)! / Math.min(...medians) - 1;
console.log(
  `\n${steps} steps of ${flags.preset}: medians of ${STRETCHES} stretches after step ${warmUp}, MB: ${medians.map((value) => value.toFixed(1)).join(" ")}\n` +
    `the last is ${(100 * growth).toFixed(2)} % above the lowest: ${growth <= BOUND ? "flat" : "NOT flat"} to ${100 * BOUND} %`,
);
process.exitCode = growth <= BOUND ? 0 : 1;
