/**
 * @file The training run: data, model, steps, validation, checkpoints, and an end that loses nothing.
 *
 * A step is a function of what a checkpoint holds, so a run that was killed and resumed continues to the last bit of what it would
 * have done (with budgets in steps or tokens: a budget in minutes ties the learning rate to the clock).
 */
import type { RunConfig } from "../config/index.js";
import { Tokenizer } from "../data/index.js";
import type { TimeSamplerState } from "../diffusion/time-sampler.js";
import { UserError } from "../errors.js";
import { denoiserParameters } from "../model/denoiser.js";
import { LOG_UNIGRAM, OUTPUT_BIAS } from "../model/embeddings.js";
import { initialParameters } from "../model/initialise.js";
import { CounterRandom, Stream } from "../random/index.js";
import { createDevice, type Device, type DeviceKind, type ParameterStore } from "../runtime/index.js";
import { latestCheckpoint, removeStaleCheckpoints, restoreCheckpoint, saveCheckpoint } from "./checkpoint.js";
import type { CheckpointState } from "./checkpoint-state.js";
import { budgetUsed, learningRateAt, type Progress } from "./learning-rate.js";
import { MetricsLog } from "./metrics-log.js";
import { checkResumable } from "./resume-config.js";
import { RunDirectory } from "./run-directory.js";
import { type StepResult, TrainingStep } from "./step.js";
import { loadTrainingData, logUnigram, type TrainingData } from "./training-data.js";
import { Validation, type ValidationResult } from "./validation.js";

export interface TrainOptions {
  readonly config: RunConfig;
  /** The run's directory. */
  readonly out: string;
  /** Continue the run in `out` from its latest checkpoint. */
  readonly resume?: boolean;
  /** When the latest checkpoint is damaged, use the newest whole one. Default: say so and stop. */
  readonly fallback?: boolean;
  /** Aborting saves a checkpoint and ends the run within a step. */
  readonly signal?: AbortSignal;
  /** Threads of the arithmetic. Default: all processors. */
  readonly threads?: number;
  /** Default "cpu". */
  readonly device?: DeviceKind;
  readonly onEvent?: (event: TrainEvent) => void;
}

/** A line of metrics.jsonl of kind "train". */
export interface TrainMetrics extends StepResult {
  readonly kind: "train";
  readonly step: number;
  readonly tokens: number;
  readonly seconds: number;
  readonly learningRate: number;
  readonly tokensPerSecond: number;
}
/** A line of kind "valid". */
export interface ValidMetrics extends ValidationResult {
  readonly kind: "valid";
  readonly step: number;
  readonly tokens: number;
  readonly seconds: number;
}

export type TrainEvent =
  | { readonly kind: "preparing"; readonly what: string }
  | {
      readonly kind: "ready";
      readonly data: TrainingData;
      readonly parameters: number;
      readonly step: number;
    }
  | { readonly kind: "step"; readonly metrics: TrainMetrics; readonly secondsLeft: number | null }
  | { readonly kind: "validating" }
  | { readonly kind: "validation"; readonly metrics: ValidMetrics }
  | { readonly kind: "checkpoint"; readonly folder: string; readonly step: number };

export interface TrainSummary {
  readonly out: string;
  readonly steps: number;
  readonly tokens: number;
  readonly seconds: number;
  readonly loss: number | null;
  readonly validation: ValidMetrics | null;
  readonly parameters: number;
  /** Stopped by the signal before the budget was spent: resume continues. */
  readonly interrupted: boolean;
}

/** Trains a model and writes its run directory. @throws UserError for everything the user can mend */
export async function train(options: TrainOptions): Promise<TrainSummary> {
  const { out, signal, onEvent = () => {} } = options;
  const { maxSteps, maxTokens, maxMinutes } = options.config.training;
  if (maxSteps === null && maxTokens === null && maxMinutes === null)
    throw new UserError(
      "Training needs a budget: pass --max-steps, --max-minutes or --set training.maxTokens=N.",
    );
  const start = await openRun(options);
  const { config } = start.run;
  const resumedTokenizer = start.checkpoint ? await Tokenizer.load(start.run.tokenizerPath) : undefined;
  const data = await loadTrainingData(config, {
    tokenizer: resumedTokenizer,
    onProgress: (what) => onEvent({ kind: "preparing", what }),
    signal,
  }).catch(async (error) => {
    if (!options.resume) await start.run.withdraw();
    throw error;
  });
  if (!resumedTokenizer) await data.tokenizer.save(out);
  onEvent({ kind: "preparing", what: "building the graphs" });
  const device = await createDevice(options.device ?? "cpu", { threads: options.threads });
  try {
    const trainer = await Trainer.create(start.run, data, device, start.checkpoint, onEvent);
    return await trainer.run(signal);
  } finally {
    await device.dispose();
  }
}

interface OpenedRun {
  readonly run: RunDirectory;
  readonly checkpoint: { folder: string; state: CheckpointState } | null;
}

async function openRun({ config, out, resume = false, fallback = false }: TrainOptions): Promise<OpenedRun> {
  if (!resume) return { run: await RunDirectory.create(out, config), checkpoint: null };
  const stored = await RunDirectory.open(out);
  checkResumable(stored.config, config);
  await removeStaleCheckpoints(out);
  const checkpoint = await latestCheckpoint(out, { fallback });
  return { run: await stored.withConfig(config), checkpoint };
}

class Trainer {
  private state: CheckpointState;
  /** Seconds trained before this process, and when this one began to train. */
  private readonly secondsBefore: number;
  private readonly began = performance.now();
  private saved = -1;
  private lastLoss: number | null = null;
  private lastValidation: ValidMetrics | null = null;

  private constructor(
    private readonly runDirectory: RunDirectory,
    private readonly store: ParameterStore,
    private readonly step: TrainingStep,
    private readonly validation: Validation,
    private readonly log: MetricsLog,
    private readonly onEvent: (event: TrainEvent) => void,
    checkpoint: OpenedRun["checkpoint"],
  ) {
    const { seed } = this.config.training;
    this.state = checkpoint?.state ?? {
      step: 0,
      tokens: 0,
      seconds: 0,
      seed,
      row: 0,
      timeSampler: {},
      router: {},
    };
    this.secondsBefore = this.state.seconds;
    if (checkpoint) this.saved = this.state.step;
  }

  private get config(): RunConfig {
    return this.runDirectory.config;
  }

  static async create(
    run: RunDirectory,
    data: TrainingData,
    device: Device,
    checkpoint: OpenedRun["checkpoint"],
    onEvent: (event: TrainEvent) => void,
  ): Promise<Trainer> {
    const { config } = run;
    const random = new CounterRandom(config.training.seed);
    const definitions = denoiserParameters(config.model);
    const ema = config.training.emaDecay !== null;
    const specs = definitions.map(({ name, shape, trainable }) => ({ name, shape, trainable }));
    const store = await device.createParameters(specs, { training: true, ema });
    if (checkpoint) await restoreCheckpoint(checkpoint.folder, store, { ema });
    else {
      const values = initialParameters(definitions, random, Stream.Init);
      values[LOG_UNIGRAM] = logUnigram(data.trainCorpus);
      values[OUTPUT_BIAS] = values[LOG_UNIGRAM].slice();
      await store.write("value", values);
      if (ema) {
        const trainable = specs.filter((s) => s.trainable).map((s) => [s.name, values[s.name]] as const);
        await store.write("ema", Object.fromEntries(trainable));
      }
    }
    const step = await TrainingStep.create(config, data.train, random, device, store);
    if (checkpoint) step.timeSampler.restore(samplerState(checkpoint.state));
    const validation = await Validation.create(config, data.valid, data.tokenizer, device);
    const log = await MetricsLog.open(run.metricsPath, checkpoint?.state.step ?? -1);
    const trainer = new Trainer(run, store, step, validation, log, onEvent, checkpoint);
    onEvent({ kind: "ready", data, parameters: store.totalParameters, step: trainer.state.step });
    return trainer;
  }

  async run(signal?: AbortSignal): Promise<TrainSummary> {
    const { evalEvery, checkpointEvery } = this.config.training;
    try {
      while (this.used() < 1 && !signal?.aborted) {
        await this.oneStep();
        if (this.used() >= 1 || signal?.aborted) break;
        if (this.state.step % evalEvery === 0) await this.validate();
        if (this.state.step % checkpointEvery === 0) await this.save();
      }
      const interrupted = this.used() < 1;
      if (!interrupted && this.lastValidation?.step !== this.state.step) await this.validate();
      await this.save();
      return this.summary(interrupted);
    } finally {
      this.log.close();
    }
  }

  private progress(): Progress {
    return { steps: this.state.step, tokens: this.state.tokens, seconds: this.seconds() };
  }
  private seconds(): number {
    return this.secondsBefore + (performance.now() - this.began) / 1000;
  }
  private used(): number {
    return budgetUsed(this.config.training, this.progress());
  }

  private async oneStep(): Promise<void> {
    const { training } = this.config;
    const began = performance.now();
    const step = this.state.step + 1;
    const learningRate = learningRateAt(training, step, this.used());
    const result = await this.step.run(this.state.row, step, learningRate);
    if (!result.applied || !Number.isFinite(result.loss)) this.stopNotFinite(step, result);
    const tokens = this.step.rowsPerStep * training.sequenceLength;
    this.lastLoss = result.loss;
    this.state = {
      ...this.state,
      step,
      tokens: this.state.tokens + tokens,
      seconds: this.seconds(),
      row: this.state.row + this.step.rowsPerStep,
    };
    const metrics: TrainMetrics = {
      kind: "train",
      step,
      tokens: this.state.tokens,
      seconds: this.state.seconds,
      learningRate,
      tokensPerSecond: (1000 * tokens) / (performance.now() - began),
      ...result,
    };
    if (step % training.logEvery === 0 || step === 1) this.log.append({ ...metrics });
    const used = this.used();
    const elapsed = this.state.seconds - this.secondsBefore;
    const left = used > 0 && used < 1 ? (this.state.seconds * (1 - used)) / used : null;
    this.onEvent({ kind: "step", metrics, secondsLeft: elapsed > 2 ? left : null });
  }

  /** Nothing was updated by this step; what was saved last is whole and stays. */
  private stopNotFinite(step: number, { loss, terms, gradNorm }: StepResult): never {
    const broken = Object.entries(terms)
      .filter(([, value]) => !Number.isFinite(value))
      .map(([name]) => name);
    const cause =
      broken.length > 0
        ? `the term${broken.length > 1 ? "s" : ""} ${broken.join(", ")} of the loss`
        : Number.isFinite(loss)
          ? `the gradient (norm ${gradNorm})`
          : "the loss";
    const kept =
      this.saved >= 0
        ? `The checkpoint of step ${this.saved} is kept`
        : "There is no checkpoint yet: the run stopped before its first";
    throw new UserError(
      `Step ${step}: ${cause} is not finite, so the run stopped before the update. ${kept}. ` +
        "Start again with a lower training.learningRate, a longer training.warmupRatio or a lower training.maxGradNorm.",
    );
  }

  private async validate(): Promise<void> {
    this.onEvent({ kind: "validating" });
    const { evalSequences, emaDecay } = this.config.training;
    const slot = emaDecay === null ? "value" : "ema";
    const result = await this.validation.run(this.store, { sequences: evalSequences, slot });
    const { step, tokens, seconds } = this.state;
    const metrics: ValidMetrics = { kind: "valid", step, tokens, seconds, ...result };
    this.lastValidation = metrics;
    this.log.append({ ...metrics });
    this.onEvent({ kind: "validation", metrics });
  }

  private async save(): Promise<void> {
    if (this.saved === this.state.step) return;
    const ema = this.config.training.emaDecay !== null;
    const state: CheckpointState = {
      ...this.state,
      timeSampler: { state: this.step.timeSampler.state() as never },
    };
    this.log.sync();
    const keep = this.config.training.keepCheckpoints;
    const folder = await saveCheckpoint(this.runDirectory.path, state, this.store, { keep, ema });
    await this.runDirectory.saveModel(this.store, { ema });
    this.saved = this.state.step;
    this.onEvent({ kind: "checkpoint", folder, step: this.state.step });
  }

  private summary(interrupted: boolean): TrainSummary {
    const { step, tokens, seconds } = this.state;
    return {
      out: this.runDirectory.path,
      steps: step,
      tokens,
      seconds,
      loss: this.lastLoss,
      validation: this.lastValidation,
      parameters: this.store.totalParameters,
      interrupted,
    };
  }
}

const samplerState = (state: CheckpointState): TimeSamplerState =>
  (state.timeSampler.state ?? null) as TimeSamplerState;
