/**
 * @file One twin trained with one seed, and judged. What a run's directory holds of it:
 *
 *     suite-training.json   that it is trained, and with what: pairs, configuration, budget, version, for a budget of minutes the threads
 *     suite-result.json     what it was judged to be, and by what: task, held-out sources, steps, settings of generation
 *
 * The directory's name ends in a checksum of what it was trained with, so trainings of other budgets or settings lie side by side. A later
 * call with the same of both takes the result over; with the same training alone, it judges anew. Measure changed code into another
 * folder; which code trained and judged is in both. Whoever is at work on a run holds its lock; others wait, then find what was made.
 */
import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { configFromLayers, type RunConfig } from "../../config/index.js";
import type { ExpertUse } from "../../diffusion/expert-use.js";
import { lockBeside } from "../../hub/folder-lock.js";
import { readKept, writeKept } from "../../hub/index.js";
import type { ProgramId } from "../../hub/program-id.js";
import type { DeviceKind } from "../../runtime/index.js";
import { readMetrics } from "../../training/metrics-log.js";
import { train } from "../../training/trainer.js";
import { version } from "../../version.js";
import { evaluateRun } from "../evaluate.js";
import type { HeldOutLoss } from "../held-out-loss.js";
import type { LevelResult } from "../levels.js";
import { NextTurnClassifier } from "./next-turn.js";
import type { GroupedPair } from "./pairs.js";
import type { SuiteTask } from "./suites.js";
import { TextScorer } from "./text-scorer.js";
import { learningParameters, type TwinName } from "./twins.js";
import { type Judged, judgeTexts } from "./write-texts.js";

/** What every twin may spend: tokens of pairs, [PAD] included, or minutes. */
export type SuiteBudget = { readonly tokens: number } | { readonly minutes: number };

/** One twin trained with one seed. Plain JSON. */
export interface TwinRun extends Training {
  readonly twin: TwinName;
  readonly seed: number;
  readonly path: string;
  readonly parameters: { readonly total: number; readonly active: number };
  readonly tokens: number;
  /** Validation while training, over such tokens and seconds: cross entropy in nats a token (masked limit: an absorbed one). */
  readonly curve: readonly { readonly tokens: number; readonly seconds: number; readonly value: number }[];
  readonly loss: HeldOutLoss;
  /** The bound is the likelihood itself. */
  readonly exact: boolean;
  /** The network beside the channel alone, level by level. */
  readonly levels: readonly LevelResult[];
  readonly experts: ExpertUse | null;
  readonly judged: Judged;
  /** The same at the numbers of steps asked for; at others than its own without free texts and gaps. */
  readonly quality: readonly { readonly steps: number; readonly judged: Judged }[];
}

/** How it was trained. Plain JSON. */
interface Training {
  readonly steps: number;
  readonly seconds: number;
  readonly threads: number;
  /** Absent: "cpu". */
  readonly device?: DeviceKind;
  /** When it was trained, ISO 8601: perhaps by an earlier call. */
  readonly date: string;
  /** Absent: kept by a version that did not say. */
  readonly trainedBy?: ProgramId;
}

/** One twin to be trained with one seed. */
export interface TwinTraining {
  readonly task: SuiteTask;
  readonly twin: TwinName;
  readonly seed: number;
  /** Of the twin, with pairs and vocabulary. */
  readonly config: RunConfig;
  /** What tells the pairs that training sees, and the vocabulary, from others, wherever they lie. */
  readonly pairsDigest: string;
  readonly budget: SuiteBudget;
  readonly threads: number;
  /** Where it is trained. */
  readonly device: DeviceKind;
  /** Where the run's directory lies. */
  readonly folder: string;
  /** The code that trains and judges, as it was at the start. */
  readonly program: ProgramId;
  readonly signal?: AbortSignal;
  readonly say: (what: string) => void;
}

/** One to be trained and judged. */
export interface TwinJob extends TwinTraining {
  /** Held-out pairs whose sources are written for. */
  readonly items: readonly GroupedPair[];
  /** Runs of the network for a text, and others to be judged at too. */
  readonly steps: number;
  readonly qualitySteps: readonly number[];
  readonly classifier: NextTurnClassifier | null;
  readonly scorer: TextScorer;
}

/** Held-out pairs that the loss is measured on. */
export const LOSS_PAIRS = 64;

/** A twin that is trained, in its run's directory. */
interface Trained<J> {
  /** Says which twin it speaks of. */
  readonly job: J;
  readonly path: string;
  readonly config: RunConfig;
  readonly trainedWith: string;
  readonly training: Training;
}

/** Runs `work` on an earlier call's training where it was made under the same conditions, else on one made now; no other process is at work on it. */
function whenTrained<J extends TwinTraining, T>(
  asked: J,
  work: (trained: Trained<J>) => Promise<T>,
): Promise<T> {
  const { twin, seed, folder } = asked;
  const job = { ...asked, say: (what: string) => asked.say(`${twin}, seed ${seed}: ${what}`) };
  const config = configOfRun(job);
  const trainedWith = trainingSettings(job, config);
  const path = join(folder, `${twin}-seed${seed}-${checksum(trainedWith).slice(0, 8)}`);
  return withLock(path, job, async () => {
    let training = await readKept<Training>(join(path, TRAINING), trainedWith);
    if (!training) {
      training = await trainRun(path, config, job);
      await writeKept(join(path, TRAINING), trainedWith, training);
    }
    return work({ job, path, config, trainedWith, training });
  });
}

/** The training alone: a later call judges it. */
export const trainTwin = (job: TwinTraining): Promise<void> => whenTrained(job, async () => {});

/** An earlier call's training and result where they were made under the same conditions; what is missing is made now. */
export function runTwin(asked: TwinJob): Promise<TwinRun> {
  return whenTrained(asked, async ({ job, path, config, trainedWith, training }) => {
    const { qualitySteps, say } = job;
    const judgedWith = JSON.stringify([trainedWith, judgingSettings(job, config)]);
    const found = await readKept<TwinRun>(join(path, RESULT), judgedWith);
    let run = found ? { ...found, path } : await judgeTwin(path, config, training, job);
    if (!found) await writeKept(join(path, RESULT), judgedWith, run);
    const judgedAt = (steps: number) =>
      steps === job.steps ? run : run.quality.find((known) => known.steps === steps);
    for (const steps of qualitySteps.filter((one) => !judgedAt(one))) {
      say(`writing in ${steps} steps`);
      const judged = await judge(path, { ...job, task: pairsAlone(job.task) }, steps);
      run = { ...run, quality: [...run.quality, { steps, judged }] };
      await writeKept(join(path, RESULT), judgedWith, run);
    }
    const quality = qualitySteps.map((steps) => ({ steps, judged: judgedAt(steps)!.judged }));
    return { ...run, quality };
  });
}

/** A pair takes the same room in every twin: learned globals, which not all have, come on top. */
function configOfRun({ task, config, seed, budget }: TwinTraining): RunConfig {
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

async function trainRun(
  path: string,
  config: RunConfig,
  { threads, device, program, signal, say }: TwinTraining,
): Promise<Training> {
  signal?.throwIfAborted();
  await rm(path, { recursive: true, force: true });
  const { steps, seconds } = await train({
    config,
    out: path,
    threads,
    device,
    signal,
    onEvent: (event) => {
      if (event.kind !== "step") return;
      const left = event.secondsLeft === null ? "" : `, ${Math.ceil(event.secondsLeft)} s left`;
      say(`step ${event.metrics.step}, loss ${event.metrics.loss.toFixed(3)}${left}`);
    },
  });
  signal?.throwIfAborted();
  return { steps, seconds, threads, device, date: new Date().toISOString(), trainedBy: program };
}

async function judgeTwin(
  path: string,
  config: RunConfig,
  training: Training,
  job: TwinJob,
): Promise<TwinRun> {
  const { task, twin, seed, threads, signal, say } = job;
  say("likelihood");
  // The held-out pairs as they lie now: the run itself may have been trained elsewhere.
  const data = config.data.valid ?? undefined;
  const report = await evaluateRun(path, { data, threads, signal, baselines: false, sequences: LOSS_PAIRS });
  say("writing");
  const { batchSize, gradientAccumulation } = config.training;
  return {
    twin,
    seed,
    path,
    ...training,
    parameters: learningParameters(config),
    tokens: training.steps * batchSize * gradientAccumulation * task.length,
    curve: readMetrics(join(path, "metrics.jsonl"))
      .filter(({ kind }) => kind === "valid")
      .map((line) => ({
        tokens: Number(line.step) * batchSize * gradientAccumulation * task.length,
        seconds: Number(line.seconds),
        value: Number(line.crossEntropy),
      })),
    loss: report.loss,
    exact: report.run.exact,
    levels: report.levels,
    experts: report.experts,
    judged: await judge(path, job, job.steps),
    quality: [],
  };
}

const judge = (path: string, { config: { generation }, ...job }: TwinJob, steps: number) =>
  judgeTexts({ ...job, path, steps, generation });

const TRAINING = "suite-training.json";
const RESULT = "suite-result.json";

/** A task without free texts and gaps. */
const pairsAlone = (task: SuiteTask): SuiteTask => ({ ...task, free: false, infill: false });

/** All that training depends on, but for the machine: the pairs themselves, not where they lie. */
function trainingSettings({ pairsDigest, threads, device, budget }: TwinTraining, config: RunConfig): string {
  const { generation: _, ...rest } = config;
  const own = {
    ...rest,
    data: { ...config.data, train: [], valid: [], tokenizer: null, onBadRecord: "stop" },
  };
  // How far it gets in a time depends on them; its numbers, to rounding, do not.
  const speed = "minutes" in budget ? (device === "cpu" ? { threads } : { device }) : {};
  return JSON.stringify({ version, config: own, pairs: pairsDigest, ...speed });
}

function judgingSettings({ task, items, steps }: TwinJob, { generation }: RunConfig): object {
  return {
    task,
    items: checksum(JSON.stringify(items)),
    steps,
    generation,
    scorer: TextScorer.kind,
    classifier: task.coherence ? NextTurnClassifier.kind : null,
  };
}

const checksum = (text: string): string => createHash("sha256").update(text).digest("hex");

/** Runs `work` while no other process is at work on the same run. Its directory is made anew meanwhile, so the lock lies beside it. */
async function withLock<T>(
  path: string,
  { signal, say }: Pick<TwinTraining, "signal" | "say">,
  work: () => Promise<T>,
): Promise<T> {
  // A process that stood still for a while may lose its lock; at worst both do the same work.
  const onWait = () => say("another process is at work on it; waiting");
  const lock = await lockBeside(path, { signal, onWait });
  return work().finally(() => lock.release());
}
