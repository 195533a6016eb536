/**
 * @file A suite: every twin trains for the same budget on the same pairs in the same order, then is judged on the same held-out ones.
 *
 *     const report = await runSuite({ suite: "science", data: "corpora", base, budget: { minutes: 20 }, out: "runs/science", ... });
 *
 * Everything lies in `out`: pairs, vocabulary, a run's directory for each twin and seed, and in each its result, which a later call with
 * the same settings and version takes over instead of training again: measure changed code into another folder.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { configFromLayers, type RunConfig } from "../../config/index.js";
import { Tokenizer } from "../../data/index.js";
import type { ExpertUse } from "../../diffusion/expert-use.js";
import { UserError } from "../../errors.js";
import { costOf } from "../../model/cost.js";
import { readMetrics } from "../../training/metrics-log.js";
import { train } from "../../training/trainer.js";
import { version } from "../../version.js";
import type { Pair } from "../accuracy.js";
import { evaluateRun } from "../evaluate.js";
import type { HeldOutLoss } from "../held-out-loss.js";
import type { LevelResult } from "../levels.js";
import { NextTurnClassifier, type WrongKind, wrongKinds, wrongTurns } from "./next-turn.js";
import { readPairs, type SuiteTask, type TaskPairs } from "./suites.js";
import { summarise, type TaskSummary } from "./summary.js";
import { learningParameters, type TwinName, twins } from "./twins.js";
import { type Judged, judgeTexts } from "./write-texts.js";

/** What every twin may spend: text tokens, or minutes. */
export type SuiteBudget = { readonly tokens: number } | { readonly minutes: number };

export interface SuiteOptions {
  readonly tasks: readonly SuiteTask[];
  /** Folder of the data files; not needed for the embedded corpus. */
  readonly data?: string;
  /** Configuration the twins are made of: see `twin`. */
  readonly base: RunConfig;
  readonly twins: readonly TwinName[];
  /** Training seeds: a run for each. */
  readonly seeds: readonly number[];
  readonly budget: SuiteBudget;
  readonly out: string;
  /** Pairs to train on, at most; held-out pairs to write and judge. Defaults 20,000 and 50. */
  readonly pairs?: number;
  readonly items?: number;
  /** Runs of the network for a text. Default 32. */
  readonly steps?: number;
  /** Also judge the texts of the first twin at these numbers of steps. Default: none. */
  readonly qualitySteps?: readonly number[];
  readonly threads?: number;
  readonly onProgress?: (what: string) => void;
  readonly signal?: AbortSignal;
}

/** One twin trained with one seed. Plain JSON. */
export interface TwinRun {
  readonly twin: TwinName;
  readonly seed: number;
  readonly path: string;
  /** When it was trained and judged, ISO 8601: perhaps by an earlier call. */
  readonly date: string;
  readonly parameters: { readonly total: number; readonly active: number };
  readonly flopsPerToken: number;
  readonly steps: number;
  readonly tokens: number;
  readonly seconds: number;
  /** Validation while training: cross entropy in nats a token (masked limit: an absorbed one). */
  readonly curve: readonly { readonly tokens: number; readonly seconds: number; readonly value: number }[];
  readonly loss: HeldOutLoss;
  /** The bound is the likelihood itself. */
  readonly exact: boolean;
  /** The network beside the channel alone, level by level. */
  readonly levels: readonly LevelResult[];
  readonly experts: ExpertUse | null;
  readonly judged: Judged;
  /** The same at other numbers of steps. */
  readonly quality: readonly { readonly steps: number; readonly judged: Judged }[];
}

/** Mean scores of held-out turns, and how often the true one scores above the wrong one. Plain JSON. */
export interface ClassifierScale {
  readonly trueTurns: number;
  readonly wrong: readonly { readonly kind: WrongKind; readonly score: number; readonly accuracy: number }[];
}

/** Plain JSON. */
export interface TaskReport {
  readonly task: string;
  readonly suite: string;
  readonly description: string;
  readonly metrics: readonly string[];
  readonly pairs: { readonly train: number; readonly valid: number };
  /** Dialogue: what the classifier is worth; else null. */
  readonly classifier: ClassifierScale | null;
  readonly runs: readonly TwinRun[];
  readonly summary: TaskSummary;
}

/** Plain JSON. */
export interface SuiteReport {
  readonly budget: SuiteBudget;
  readonly seeds: readonly number[];
  readonly items: number;
  readonly steps: number;
  readonly base: RunConfig;
  readonly tasks: readonly TaskReport[];
}

export async function runSuite(options: SuiteOptions): Promise<SuiteReport> {
  const { tasks, base, budget, seeds, items = 50, steps = 32 } = options;
  if (seeds.length === 0) throw new UserError("suite: expected at least one seed.");
  const reports: TaskReport[] = [];
  for (const task of tasks) reports.push(await runTask(task, options));
  return { budget, seeds, items, steps, base, tasks: reports };
}

async function runTask(task: SuiteTask, options: SuiteOptions): Promise<TaskReport> {
  const { data, seeds, out, pairs = 20_000, items = 50, onProgress = () => {} } = options;
  const say = (what: string) => onProgress(`${task.name}: ${what}`);
  say("reading the pairs");
  const found = await readPairs(task, data, { train: pairs, valid: Math.max(items, VALID_PAIRS) });
  const folder = join(out, task.name);
  const base = await prepare(task, found, options, folder, say);
  const classifier = task.coherence ? NextTurnClassifier.train(found.train) : null;
  const runs: TwinRun[] = [];
  for (const seed of seeds)
    for (const [twin, config] of twins(base, options.twins))
      runs.push(await runTwin({ task, twin, seed, config, folder, found, classifier, options, say }));
  return {
    task: task.name,
    suite: task.suite,
    description: task.description,
    metrics: [...task.metrics, ...(classifier ? ["coherence"] : [])],
    pairs: { train: found.train.length, valid: found.valid.length },
    classifier: classifier && anchors(classifier, found.valid),
    runs,
    summary: summarise(runs, options.twins),
  };
}

/** Held-out pairs that the loss is measured on, at least. */
const VALID_PAIRS = 64;

/** What the classifier makes of held-out talk: the scale that written turns are to be read on. */
function anchors(classifier: NextTurnClassifier, pairs: readonly Pair[]): ClassifierScale {
  const mean = (list: readonly Pair[]) =>
    list.reduce((sum, pair) => sum + classifier.score(pair), 0) / list.length;
  return {
    trueTurns: mean(pairs),
    wrong: wrongKinds.map((kind) => ({
      kind,
      score: mean(wrongTurns(pairs, kind)),
      accuracy: classifier.accuracy(pairs, kind),
    })),
  };
}

/** Writes pairs and vocabulary, which all twins share, and lays the task's settings over the base. */
async function prepare(
  task: SuiteTask,
  { train: trainPairs, valid }: TaskPairs,
  { base }: SuiteOptions,
  folder: string,
  say: (what: string) => void,
): Promise<RunConfig> {
  await mkdir(folder, { recursive: true });
  const write = async (name: string, pairs: readonly Pair[]) => {
    const path = join(folder, `${name}.jsonl`);
    await writeFile(path, pairs.map((pair) => `${JSON.stringify(pair)}\n`).join(""));
    return path;
  };
  const [train, held] = [await write("train", trainPairs), await write("valid", valid)];
  say(`learning a vocabulary of ${base.model.vocabSize} tokens`);
  const tokenizer = await Tokenizer.train(
    trainPairs.flatMap(({ src, trg }) => [src, trg]),
    { vocabSize: base.model.vocabSize },
  );
  await tokenizer.save(folder);
  return configFromLayers([
    { name: "base", config: base },
    {
      name: `task ${task.name}`,
      config: {
        data: {
          train: [train],
          valid: [held],
          padTargets: task.length,
          tokenizer: join(folder, "tokenizer.json"),
        },
        training: { packing: false, evalSequences: VALID_PAIRS },
        // Texts from nothing are those of a pair whose source was left out.
        diffusion: task.free ? { conditionDropout: 0.2 } : {},
      },
    },
  ]);
}

interface TwinJob {
  readonly task: SuiteTask;
  readonly twin: TwinName;
  readonly seed: number;
  readonly config: RunConfig;
  readonly folder: string;
  readonly found: TaskPairs;
  readonly classifier: NextTurnClassifier | null;
  readonly options: SuiteOptions;
  readonly say: (what: string) => void;
}

/** A pair takes the same room in every twin: learned globals, which not all have, come on top. */
function configOfRun({ task, config, seed, options: { budget } }: TwinJob): RunConfig {
  const { batchSize, gradientAccumulation } = config.training;
  const perStep = batchSize * gradientAccumulation * task.length;
  const spent =
    "minutes" in budget
      ? { maxMinutes: budget.minutes }
      : { maxSteps: Math.max(1, Math.round(budget.tokens / perStep)) };
  const sequenceLength = task.length + config.model.attention.globalTokens;
  return configFromLayers([
    { name: "twin", config },
    { name: "budget", config: { training: { maxSteps: null, maxTokens: null, maxMinutes: null, ...spent } } },
    { name: "run", config: { training: { seed, sequenceLength, checkpointEvery: 1_000_000 } } },
  ]);
}

async function runTwin(job: TwinJob): Promise<TwinRun> {
  const { task, twin, seed, folder, options, say } = job;
  const { items = 50, steps = 32, qualitySteps = [], threads, signal } = options;
  const config = configOfRun(job);
  const path = join(folder, `${twin}-seed${seed}`);
  const first = options.twins[0] === twin;
  const settings = JSON.stringify({
    version,
    config,
    task,
    items,
    steps,
    quality: first ? qualitySteps : [],
  });
  const stored = await storedResult(path, settings);
  if (stored) return stored;
  signal?.throwIfAborted();
  await rm(path, { recursive: true, force: true });
  const who = `${twin}, seed ${seed}`;
  const summary = await train({
    config,
    out: path,
    threads,
    signal,
    onEvent: (event) => {
      if (event.kind !== "step") return;
      const left = event.secondsLeft === null ? "" : `, ${Math.ceil(event.secondsLeft)} s left`;
      say(`${who}: step ${event.metrics.step}, loss ${event.metrics.loss.toFixed(3)}${left}`);
    },
  });
  signal?.throwIfAborted();
  say(`${who}: likelihood`);
  const report = await evaluateRun(path, { threads, signal, baselines: false, sequences: VALID_PAIRS });
  say(`${who}: writing`);
  const judge = (own: number) =>
    judgeTexts({ ...job, path, items: job.found.valid.slice(0, items), steps: own, threads, signal });
  const judged = await judge(steps);
  const quality: TwinRun["quality"][number][] = [];
  if (first) for (const own of qualitySteps) quality.push({ steps: own, judged: await judge(own) });
  const { batchSize, sequenceLength } = config.training;
  const run: TwinRun = {
    twin,
    seed,
    path,
    date: new Date().toISOString(),
    parameters: learningParameters(config),
    flopsPerToken: costOf(config.model, { batchSize, length: sequenceLength }).flopsPerToken.training,
    steps: summary.steps,
    tokens: summary.steps * batchSize * config.training.gradientAccumulation * task.length,
    seconds: summary.seconds,
    curve: readMetrics(join(path, "metrics.jsonl"))
      .filter(({ kind }) => kind === "valid")
      .map((line) => ({
        tokens: Number(line.tokens),
        seconds: Number(line.seconds),
        value: Number(line.crossEntropy),
      })),
    loss: report.loss,
    exact: report.run.exact,
    levels: report.levels,
    experts: report.experts,
    judged,
    quality,
  };
  await writeFile(join(path, RESULT), JSON.stringify({ settings, run }));
  return run;
}

const RESULT = "suite-result.json";

/** What an earlier call with the same settings found; null: nothing. */
async function storedResult(path: string, settings: string): Promise<TwinRun | null> {
  const file = join(path, RESULT);
  if (!existsSync(file)) return null;
  const stored = JSON.parse(await readFile(file, "utf8")) as { settings: string; run: TwinRun };
  return stored.settings === settings ? stored.run : null;
}
