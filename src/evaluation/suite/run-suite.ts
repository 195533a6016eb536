/**
 * @file A suite: every twin trains for the same budget on the same pairs in the same order, then is judged on the same held-out ones.
 *
 *     const report = await runSuite({ tasks: tasksOf("science"), data: "corpora", base, budget: { minutes: 20 }, out: "runs/science", ... });
 *
 * Everything lies in `out`: pairs and vocabulary in a folder named by their checksum, a run's directory for each twin and seed, and in
 * each its result (twin-run.ts). Several processes may work in one `out`.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { configFromLayers, type RunConfig } from "../../config/index.js";
import { Tokenizer } from "../../data/index.js";
import { UserError } from "../../errors.js";
import { makeFolder, writeFileAtomic } from "../../hub/durable-file.js";
import { type ProgramId, programId } from "../../hub/program-id.js";
import type { DeviceKind } from "../../runtime/index.js";
import { checkSettings } from "../../sampling/sampling-settings.js";
import type { Pair } from "../accuracy.js";
import { NextTurnClassifier, type WrongKind, wrongKinds } from "./next-turn.js";
import type { GroupedPair } from "./pairs.js";
import { readPairs, type SuiteTask, type TaskPairs } from "./suites.js";
import { type RatioInterval, ratioInterval, summarise, type TaskSummary } from "./summary.js";
import { type ScorerScale, TextScorer } from "./text-scorer.js";
import {
  LOSS_PAIRS,
  runTwin,
  type SuiteBudget,
  type TwinRun,
  type TwinTraining,
  trainTwin,
} from "./twin-run.js";
import { type TwinName, twins } from "./twins.js";

/** Runs of the network for a text. */
const DEFAULT_STEPS = 32;

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
  /** Where twins are trained; they are judged on the processor. Default "cpu". */
  readonly device?: DeviceKind;
  readonly onProgress?: (what: string) => void;
  readonly signal?: AbortSignal;
}

/** Mean scores of held-out turns, and how often the true one scores above the wrong one. Plain JSON. */
export interface ClassifierScale {
  /** Held-out turns it was tried on: all there are. */
  readonly turns: number;
  readonly trueTurns: number;
  readonly wrong: readonly { readonly kind: WrongKind; readonly score: number; readonly accuracy: number }[];
  /** The true next turns of the judged sources over those that each twin wrote: all that the scale has left for it. */
  readonly truth: readonly { readonly over: TwinName; readonly value: RatioInterval }[];
}

/** Plain JSON. */
export interface TaskReport {
  readonly task: string;
  readonly suite: string;
  readonly description: string;
  readonly metrics: readonly string[];
  /** Pairs that training had, held-out ones that were written for, and how many documents (or sources) those are from. */
  readonly pairs: { readonly train: number; readonly valid: number; readonly groups: number };
  /** Dialogue: what the classifier is worth; else null. */
  readonly classifier: ClassifierScale | null;
  /** What the scorer of texts says of real ones. */
  readonly scorer: ScorerScale;
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
  const { tasks, base, budget, seeds } = options;
  const whole = withDefaults(options);
  const reports: TaskReport[] = [];
  for (const task of tasks) reports.push(await runTask(task, whole));
  return { budget, seeds, items: whole.items, steps: whole.steps, base, tasks: reports };
}

/** Trains the twins and judges none: a later `runSuite` with the same options does, without any training beside it. */
export async function trainSuite(options: SuiteOptions): Promise<void> {
  const whole = withDefaults(options);
  for (const task of whole.tasks)
    for (const training of (await prepareTask(task, whole)).trainings) await trainTwin(training);
}

/** Options with what they leave out, and the code that is at work. */
type WholeOptions = SuiteOptions &
  Required<Pick<SuiteOptions, "items" | "steps">> & { readonly program: ProgramId };

/** @throws UserError for options that make no sense together */
function withDefaults(options: SuiteOptions): WholeOptions {
  const { tasks, seeds, items = 50, steps = DEFAULT_STEPS } = options;
  if (seeds.length === 0) throw new UserError("suite: expected at least one seed.");
  for (const [what, list] of Object.entries({ tasks, twins: options.twins, seeds }))
    if (new Set<unknown>(list).size < list.length)
      throw new UserError(`suite: expected every one of the ${what} once, got one of them twice.`);
  checkGeneration(options);
  return { ...options, items, steps, program: programId() };
}

/** @throws UserError for settings of generation that a twin cannot have: said before anything is trained */
export function checkGeneration(options: SuiteOptions): void {
  const { tasks, base, twins: names, steps = DEFAULT_STEPS, qualitySteps = [] } = options;
  for (const task of tasks)
    for (const [name, config] of twins(withConditionDropout(task, base), names))
      try {
        for (const asked of [steps, ...qualitySteps]) checkSettings(config, { steps: asked });
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        throw new UserError(`${task.name}, twin ${name}: ${error.message}`);
      }
}

/** The pairs of a task, its vocabulary, and the twins that are to be trained. */
async function prepareTask(task: SuiteTask, options: WholeOptions) {
  const { data, seeds, out, budget, pairs = 20_000, items, signal } = options;
  const { program, threads = availableParallelism(), device = "cpu", onProgress = () => {} } = options;
  const say = (what: string) => onProgress(`${task.name}: ${what}`);
  const folder = join(out, task.name);
  await makeFolder(folder); // says now, not after minutes, that nothing can be written there
  say("reading the pairs");
  const limits = { train: pairs, valid: Math.max(items, LOSS_PAIRS) };
  const found = await readPairs(task, data, limits, options.base.data.onBadRecord);
  const { base, pairsDigest, tokenizer } = await prepare(task, found, options.base, folder, say);
  const common = { task, pairsDigest, budget, threads, device, folder, program, signal, say };
  const trainings = seeds.flatMap((seed) =>
    Array.from(
      twins(base, options.twins),
      ([name, config]): TwinTraining => ({ ...common, twin: name, seed, config }),
    ),
  );
  return { found, tokenizer, trainings };
}

async function runTask(task: SuiteTask, options: WholeOptions): Promise<TaskReport> {
  const { items, steps, qualitySteps = [] } = options;
  const { found, tokenizer, trainings } = await prepareTask(task, options);
  const judged = found.valid.slice(0, items);
  const classifier = task.coherence ? NextTurnClassifier.train(found.train) : null;
  const targets = found.train.map(({ trg }) => trg);
  const scorer = TextScorer.train(targets, tokenizer);
  const judging = { items: judged, steps, qualitySteps: [], classifier, scorer };
  const jobs = trainings.map((training) => ({ ...training, ...judging }));
  const runs: TwinRun[] = [];
  for (const job of jobs) runs.push(await runTwin(job));
  const [first] = jobs;
  // A left-to-right twin writes a token a step, whatever is asked for.
  const atSteps = first.config.diffusion.objective === "next-token" ? [] : qualitySteps;
  // When all are trained: a run that is stopped has the other twins first.
  for (const [i, job] of jobs.entries())
    if (job.twin === first.twin && atSteps.length > 0)
      runs[i] = await runTwin({ ...job, qualitySteps: atSteps });
  return {
    task: task.name,
    suite: task.suite,
    description: task.description,
    metrics: Object.keys(runs[0].judged.scores),
    pairs: {
      train: found.train.length,
      valid: judged.length,
      groups: new Set(judged.map(({ group }) => group)).size,
    },
    classifier: classifier && anchors(classifier, found.heldOut, judged, runs),
    scorer: scorer.scale(
      targets,
      judged.map(({ trg }) => trg),
    ),
    runs,
    summary: summarise(
      runs,
      options.twins,
      judged.map(({ group }) => group),
    ),
  };
}

/** What the classifier makes of held-out talk: the scale that written turns are to be read on. */
function anchors(
  classifier: NextTurnClassifier,
  pairs: readonly GroupedPair[],
  judged: readonly GroupedPair[],
  runs: readonly TwinRun[],
): ClassifierScale {
  const truth = judged.map((pair) => classifier.score(pair));
  const groups = judged.map(({ group }) => group);
  return {
    turns: pairs.length,
    trueTurns: pairs.reduce((sum, pair) => sum + classifier.score(pair), 0) / pairs.length,
    wrong: wrongKinds.flatMap((kind) => {
      const found = classifier.against(pairs, kind);
      return found ? [{ kind, ...found }] : [];
    }),
    truth: [...new Set(runs.map(({ twin }) => twin))].map((over) => {
      const own = runs.filter(({ twin }) => twin === over).map((run) => run.judged.scores.coherence);
      const ofTruth = own.map(() => truth);
      return { over, value: ratioInterval(ofTruth, own, groups) };
    }),
  };
}

/** Sources left out in training where texts from nothing are wanted: they are those of a pair without a source. */
const FREE_SHARE = 0.2;

const withConditionDropout = ({ name, free }: SuiteTask, base: RunConfig): RunConfig =>
  free && base.diffusion.conditionDropout === 0
    ? configFromLayers([
        { name: "base", config: base },
        { name: `task ${name}`, config: { diffusion: { conditionDropout: FREE_SHARE } } },
      ])
    : base;

interface Prepared {
  /** The base with the task's settings laid over it. */
  readonly base: RunConfig;
  /** SHA-256 of the vocabulary's size and the pairs that training sees. */
  readonly pairsDigest: string;
  readonly tokenizer: Tokenizer;
}

/** Writes pairs and vocabulary, which all twins share; what is there already stays. */
async function prepare(
  task: SuiteTask,
  { train: trainPairs, valid }: TaskPairs,
  base: RunConfig,
  folder: string,
  say: (what: string) => void,
): Promise<Prepared> {
  const { vocabSize } = base.model;
  const lines = (pairs: readonly Pair[]) =>
    pairs.map(({ src, trg }) => `${JSON.stringify({ src, trg })}\n`).join("");
  // Training validates on these; more of them are held out where more are judged.
  const [train, held] = [lines(trainPairs), lines(valid.slice(0, LOSS_PAIRS))];
  const pairsDigest = createHash("sha256")
    .update(JSON.stringify([vocabSize, train, held]))
    .digest("hex");
  const own = join(folder, `pairs-${pairsDigest.slice(0, 12)}`);
  const [trainPath, heldPath] = ["train.jsonl", "valid.jsonl"].map((name) => join(own, name));
  const vocabulary = join(own, "tokenizer.json");
  // Written last, each file whole or not at all.
  if (!existsSync(vocabulary)) {
    await makeFolder(own);
    await writeFileAtomic(trainPath, train);
    await writeFileAtomic(heldPath, held);
    say(`learning a vocabulary of ${vocabSize} tokens`);
    const texts = trainPairs.flatMap(({ src, trg }) => [src, trg]);
    await (await Tokenizer.train(texts, { vocabSize })).save(own);
  }
  const withTask = configFromLayers([
    { name: "base", config: withConditionDropout(task, base) },
    {
      name: `task ${task.name}`,
      config: {
        data: {
          train: [trainPath],
          valid: [heldPath],
          padTargets: task.length,
          tokenizer: vocabulary,
        },
        training: { packing: false, evalSequences: LOSS_PAIRS },
      },
    },
  ]);
  return { base: withTask, pairsDigest, tokenizer: await Tokenizer.load(own) };
}
