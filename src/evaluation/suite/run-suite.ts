/**
 * @file A suite: every twin trains for the same budget on the same pairs in the same order, then is judged on the same held-out ones.
 *
 *     const report = await runSuite({ suite: "science", data: "corpora", base, budget: { minutes: 20 }, out: "runs/science", ... });
 *
 * Everything lies in `out`: pairs, vocabulary, a run's directory for each twin and seed, and in each its result, which a later call with
 * the same pairs, settings and version takes over instead of training again: measure changed code into another folder. Several processes
 * may train different twins or seeds into one `out`.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { configFromLayers, type RunConfig } from "../../config/index.js";
import { Tokenizer } from "../../data/index.js";
import type { ExpertUse } from "../../diffusion/expert-use.js";
import { UserError } from "../../errors.js";
import { writeFileAtomic } from "../../hub/index.js";
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

const ITEMS = 50;
const STEPS = 32;

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
  const { tasks, base, budget, seeds, items = ITEMS, steps = STEPS } = options;
  if (seeds.length === 0) throw new UserError("suite: expected at least one seed.");
  const reports: TaskReport[] = [];
  for (const task of tasks) reports.push(await runTask(task, options));
  return { budget, seeds, items, steps, base, tasks: reports };
}

async function runTask(task: SuiteTask, options: SuiteOptions): Promise<TaskReport> {
  const { data, seeds, out, pairs = 20_000, items = ITEMS, onProgress = () => {} } = options;
  const say = (what: string) => onProgress(`${task.name}: ${what}`);
  say("reading the pairs");
  const found = await readPairs(task, data, { train: pairs, valid: Math.max(items, VALID_PAIRS) });
  const folder = join(out, task.name);
  const { base, pairsDigest } = await prepare(task, found, options, folder, say);
  const classifier = task.coherence ? NextTurnClassifier.train(found.train) : null;
  const runs: TwinRun[] = [];
  for (const seed of seeds)
    for (const [twin, config] of twins(base, options.twins))
      runs.push(
        await runTwin({ task, twin, seed, config, folder, found, pairsDigest, classifier, options, say }),
      );
  return {
    task: task.name,
    suite: task.suite,
    description: task.description,
    metrics: Object.keys(runs[0].judged.scores),
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

interface Prepared {
  /** The base with the task's settings laid over it. */
  readonly base: RunConfig;
  /** SHA-256 of all pairs. */
  readonly pairsDigest: string;
}

/** Writes pairs and vocabulary, which all twins share. */
async function prepare(
  task: SuiteTask,
  { train: trainPairs, valid }: TaskPairs,
  { base }: SuiteOptions,
  folder: string,
  say: (what: string) => void,
): Promise<Prepared> {
  await mkdir(folder, { recursive: true });
  const hash = createHash("sha256");
  const write = async (name: string, pairs: readonly Pair[]) => {
    const path = join(folder, `${name}.jsonl`);
    const text = pairs.map((pair) => `${JSON.stringify(pair)}\n`).join("");
    hash.update(`${name}\n${text}`);
    await writeFileAtomic(path, text);
    return path;
  };
  const [train, held] = [await write("train", trainPairs), await write("valid", valid)];
  say(`learning a vocabulary of ${base.model.vocabSize} tokens`);
  const tokenizer = await Tokenizer.train(
    trainPairs.flatMap(({ src, trg }) => [src, trg]),
    { vocabSize: base.model.vocabSize },
  );
  await tokenizer.save(folder);
  const withTask = configFromLayers([
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
  return { base: withTask, pairsDigest: hash.digest("hex") };
}

interface TwinJob {
  readonly task: SuiteTask;
  readonly twin: TwinName;
  readonly seed: number;
  readonly config: RunConfig;
  readonly folder: string;
  readonly found: TaskPairs;
  readonly pairsDigest: string;
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

/** The twin's run: an earlier call's where it had the same settings, else trained now; judged at whatever steps are still missing. */
async function runTwin(job: TwinJob): Promise<TwinRun> {
  const { twin, seed, folder, options, say } = job;
  const config = configOfRun(job);
  const path = join(folder, `${twin}-seed${seed}`);
  const settings = settingsOf(job, config);
  const stored = await storedResult(path, settings);
  let run = stored ? { ...stored, path } : await trainTwin(job, config, path);
  const keep = () => writeFileAtomic(join(path, RESULT), JSON.stringify({ settings, run }));
  if (!stored) await keep();
  const wanted = options.twins[0] === twin ? (options.qualitySteps ?? []) : [];
  for (const steps of wanted.filter((one) => !run.quality.some((known) => known.steps === one))) {
    say(`${twin}, seed ${seed}: writing in ${steps} steps`);
    run = { ...run, quality: [...run.quality, { steps, judged: await judge(job, path, steps) }] };
    await keep();
  }
  return { ...run, quality: wanted.map((steps) => run.quality.find((known) => known.steps === steps)!) };
}

const judge = (job: TwinJob, path: string, steps: number): Promise<Judged> => {
  const { task, found, classifier, options } = job;
  const { items = ITEMS, threads, signal } = options;
  return judgeTexts({ path, task, classifier, items: found.valid.slice(0, items), steps, threads, signal });
};

async function trainTwin(job: TwinJob, config: RunConfig, path: string): Promise<TwinRun> {
  const { task, twin, seed, options, say } = job;
  const { steps = STEPS, threads, signal } = options;
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
  const { batchSize, sequenceLength } = config.training;
  return {
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
    judged: await judge(job, path, steps),
    quality: [],
  };
}

/** All that a result depends on: the pairs themselves, not where they lie. */
function settingsOf({ task, pairsDigest, options }: TwinJob, config: RunConfig): string {
  const { items = ITEMS, steps = STEPS } = options;
  const data = { ...config.data, train: [], valid: [], tokenizer: null };
  return JSON.stringify({ version, config: { ...config, data }, pairs: pairsDigest, task, items, steps });
}

const RESULT = "suite-result.json";

/** What an earlier call with the same settings found; null: nothing, or the file is broken. */
async function storedResult(path: string, settings: string): Promise<TwinRun | null> {
  const text = await readFile(join(path, RESULT), "utf8").catch(() => null);
  if (text === null) return null;
  try {
    const stored = JSON.parse(text) as { settings: string; run: TwinRun };
    return stored.settings === settings ? stored.run : null;
  } catch {
    return null;
  }
}
