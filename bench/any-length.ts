/**
 * @file What a token costs as texts grow, written in blocks: time and peak memory for several lengths, each in a process of its own.
 *
 *   npx tsx bench/any-length.ts [--lengths 2048,8192,65536] [--preset masked] [--block-length 512] [--context-length C] [--steps 16]
 *                               [--cache-interval 1] [--threads N] [--json]
 *
 * The network has the sizes of `bench-small`, drawn weights and a made-up vocabulary: its text is noise, its cost is not. Programs are
 * compiled before the clock starts. A text shorter than context and block together has smaller canvases: not one to compare with.
 * `--block-length 0` writes all of a text at once.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { peakBytes } from "../src/benchmark/process-memory.js";
import { pairTokenizer } from "../src/benchmark/synthetic-tokenizer.js";
import { configFromLayers, findPreset, type PartialRunConfig, type RunConfig } from "../src/config/index.js";
import { denoiserParameters } from "../src/model/denoiser.js";
import { initialParameters } from "../src/model/initialise.js";
import { CounterRandom, Stream } from "../src/random/index.js";
import { DiffusionModel, type GenerationSettings, generate } from "../src/sampling/index.js";

interface Task {
  readonly preset: string;
  readonly threads: number;
  readonly settings: GenerationSettings & { readonly length: number; readonly blockLength: number };
}

interface Result {
  readonly tokens: number;
  readonly blocks: number;
  readonly milliseconds: number;
  /** Of the processor, in the first and the last quarter of the network's runs: milliseconds a run. */
  readonly quarters: readonly [number, number];
  /** Once the programs are compiled, and at the end. */
  readonly warmPeakBytes: number;
  readonly peakBytes: number;
}

const { values: flags } = parseArgs({
  options: {
    lengths: { type: "string", default: "2048,8192,65536" },
    preset: { type: "string", default: "masked" },
    "block-length": { type: "string", default: "512" },
    "context-length": { type: "string" },
    steps: { type: "string", default: "16" },
    "cache-interval": { type: "string", default: "1" },
    threads: { type: "string", default: String(availableParallelism()) },
    json: { type: "boolean", default: false },
    /** One task, as JSON: what the processes of this one are told. */
    task: { type: "string" },
  },
});

function benchConfig(preset: string): RunConfig {
  const { preset: _, ...sizes } = JSON.parse(
    readFileSync(new URL("../configs/bench-small.json", import.meta.url), "utf8"),
  ) as PartialRunConfig & { preset: string };
  return configFromLayers([
    { name: "preset", config: findPreset(preset).config },
    { name: "bench-small", config: sizes },
  ]);
}

/** Processor time of this process, in milliseconds, before every run of a model's network from now on. */
function processorTimes(model: DiffusionModel): number[] {
  const times: number[] = [];
  const run = model.run.bind(model);
  model.run = (...args) => {
    const { user, system } = process.cpuUsage();
    times.push((user + system) / 1000);
    return run(...args);
  };
  return times;
}

async function perform({ preset, threads, settings }: Task): Promise<Result> {
  const config = benchConfig(preset);
  const random = new CounterRandom(config.training.seed);
  const weights = initialParameters(denoiserParameters(config.model), random, Stream.Init);
  const model = await DiffusionModel.fromWeights(config, pairTokenizer(config.model.vocabSize), weights, {
    threads,
  });
  const { length, blockLength } = settings;
  // As many as fill the context: the programs are those of the long text.
  const few = blockLength === 0 ? length : Math.min(length, config.training.sequenceLength + blockLength);
  await generate(model, {}, { ...settings, length: few });
  const warmPeakBytes = peakBytes();
  const clock = processorTimes(model);
  const start = performance.now();
  const [{ ids, blocks }] = await generate(model, {}, settings);
  const milliseconds = performance.now() - start;
  const quarter = clock.length >> 2;
  const mean = (from: number, to: number) => (clock[to] - clock[from]) / (to - from);
  const quarters = [mean(0, quarter), mean(clock.length - 1 - quarter, clock.length - 1)] as const;
  await model.dispose();
  return { tokens: ids.length, blocks, milliseconds, quarters, warmPeakBytes, peakBytes: peakBytes() };
}

function inOwnProcess(task: Task): Result {
  const file = fileURLToPath(import.meta.url);
  // execArgv: how this process reads TypeScript.
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [...process.execArgv, file, "--task", JSON.stringify(task)],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`length ${task.settings.length} failed:\n${stderr.slice(-2000)}`);
  return JSON.parse(stdout) as Result;
}

if (flags.task !== undefined) {
  console.log(JSON.stringify(await perform(JSON.parse(flags.task) as Task)));
} else {
  const contextLength = flags["context-length"];
  const settings = {
    blockLength: Number(flags["block-length"]),
    contextLength: contextLength === undefined ? undefined : Number(contextLength),
    steps: Number(flags.steps),
    cacheInterval: Number(flags["cache-interval"]),
  };
  const lengths = flags.lengths.split(",").map(Number);
  const threads = Number(flags.threads);
  const results = lengths.map((length) =>
    inOwnProcess({ preset: flags.preset, threads, settings: { ...settings, length } }),
  );
  // The last block may end the text; its tokens are computed all the same.
  const perToken = results.map(({ milliseconds }, i) => milliseconds / lengths[i]);
  const shortest = lengths.indexOf(Math.min(...lengths));
  console.log(
    `${flags.preset}, bench-small, blocks of ${settings.blockLength}, ${settings.steps} steps, ${threads} threads, ${cpus()[0].model}, ` +
      `load ${loadavg()[0].toFixed(1)}`,
  );
  for (const [i, { tokens, blocks, quarters, peakBytes: peak, warmPeakBytes }] of results.entries())
    console.log(
      `length ${lengths[i]}: ${perToken[i].toFixed(3)} ms a token (${(perToken[i] / perToken[shortest]).toFixed(2)}x the shortest), ` +
        `peak ${(peak / 1e6).toFixed(0)} MB (${(peak / results[shortest].peakBytes).toFixed(2)}x; ${(warmPeakBytes / 1e6).toFixed(0)} MB ` +
        `once compiled), ${tokens} tokens in ${blocks} blocks; processor ${quarters[0].toFixed(1)} ms a run in the first quarter, ` +
        `${quarters[1].toFixed(1)} in the last`,
    );
  if (flags.json)
    console.log(JSON.stringify({ settings, lengths, results, perToken, threads, preset: flags.preset }));
}
