/**
 * @file The training run: data, model, steps, validation, checkpoints, and an end that loses nothing.
 *
 * A step is a function of what a checkpoint holds, so a run that was killed and resumed continues to the last bit of what it would
 * have done (with budgets in steps or tokens: a budget in minutes ties the learning rate to the clock).
 *
 * Several ranks (processes started by mpirun) run the same loop, each with its share of the rows. Rank 0 alone touches the run's
 * directory, and its clock is everybody's. Whatever decides how the loop goes on is agreed upon after every step.
 */
import type { RunConfig } from "../config/index.js";
import { Tokenizer } from "../data/index.js";
import type { TimeSamplerState } from "../diffusion/time-sampler.js";
import {
  allOrNone,
  broadcastJson,
  type Communicator,
  joinRanks,
  threadsOfRank,
} from "../distributed/index.js";
import { UserError } from "../errors.js";
import { denoiserParameters } from "../model/denoiser.js";
import { LOG_UNIGRAM, OUTPUT_BIAS } from "../model/embeddings.js";
import { initialParameters } from "../model/initialise.js";
import { CounterRandom, Stream } from "../random/index.js";
import { createDevice, type Device, type ParameterStore } from "../runtime/index.js";
import { checkTrainOptions } from "./check-options.js";
import { restoreCheckpoint } from "./checkpoint.js";
import type { CheckpointState } from "./checkpoint-state.js";
import { checkTexts, nameOfTexts } from "./data-record.js";
import { budgetUsed, learningRateAt } from "./learning-rate.js";
import { type ValidatedOn, validationAt } from "./metrics-log.js";
import { notFinite } from "./not-finite.js";
import { keepStart, type OpenedRun, openRun, requireConditions, requireSameTexts } from "./open-run.js";
import { onRankZero } from "./rank-store.js";
import { rowShare } from "./row-share.js";
import { RunRecord } from "./run-record.js";
import { TrainingStep } from "./step.js";
import type { TrainEvent, TrainMetrics, TrainSummary, ValidMetrics } from "./train-events.js";
import type { TrainOptions } from "./train-options.js";
import { loadTrainingData, logUnigram, type TrainingData } from "./training-data.js";
import { Validation } from "./validation.js";

export type { TrainEvent, TrainMetrics, TrainOptions, TrainSummary, ValidMetrics };

/**
 * Trains a model and writes its run directory. With several ranks all of them call it; rank 0's options count, and it alone gets events.
 *
 * @throws UserError for everything the user can mend
 */
export async function train(options: TrainOptions): Promise<TrainSummary> {
  checkTrainOptions(options);
  const { communicator = await joinRanks() } = options;
  const onEvent = (communicator.rank === 0 && options.onEvent) || (() => {});
  const { maxSteps, maxTokens, maxMinutes } = options.config.training;
  if (maxSteps === null && maxTokens === null && maxMinutes === null)
    throw new UserError("Training needs a budget: pass --max-steps, --max-minutes or --max-tokens.");
  rowShare(options.config.training, communicator); // says so now, before anything is written, if the rows cannot be shared
  const kind = options.device ?? "cpu";
  if (options.profile && kind === "reference")
    throw new UserError(
      "profile: expected the device cpu or webgpu, got reference, which has no profiler; leave out --profile or --device.",
    );
  const threads = options.threads ?? threadsOfRank();
  const device = await createDevice(kind, { threads, communicator }); // before anything is written
  try {
    return await trainOn(device, options, communicator, onEvent);
  } finally {
    await device.dispose();
  }
}

async function trainOn(
  device: Device,
  options: TrainOptions,
  communicator: Communicator,
  onEvent: (event: TrainEvent) => void,
): Promise<TrainSummary> {
  const onNotice = (message: string) => onEvent({ kind: "notice", message });
  const run = await openRun({ ...options, onNotice }, communicator);
  try {
    return await trainRun(run, device, options, onEvent);
  } finally {
    await run.lock.release();
  }
}

async function trainRun(
  run: OpenedRun,
  device: Device,
  options: TrainOptions,
  onEvent: (event: TrainEvent) => void,
): Promise<TrainSummary> {
  const { signal } = options;
  const takeBack = async (error: unknown): Promise<never> => {
    await run.withdraw();
    throw signal?.aborted ? signal.reason : error;
  };
  const load = () =>
    loadTrainingData(run.config, {
      tokenizer: run.tokenizer ? Tokenizer.fromJSON(run.tokenizer) : undefined,
      onProgress: (what) => onEvent({ kind: "preparing", what }),
      signal,
    });
  const data = await allOrNone(device.communicator, load).catch(takeBack);
  try {
    const trainer = await startTrainer(run, data, device, options, onEvent).catch(takeBack);
    return await trainer
      .run(options)
      .catch((error) => (trainer.begun ? Promise.reject(error) : takeBack(error)));
  } finally {
    data.close();
  }
}

async function startTrainer(
  run: OpenedRun,
  data: TrainingData,
  device: Device,
  { out, signal }: TrainOptions,
  onEvent: (event: TrainEvent) => void,
): Promise<Trainer> {
  const atOnce = signalAtOnce(device.communicator, signal);
  atOnce?.throwIfAborted();
  await requireSameTexts(data, device.communicator);
  if (run.directory && run.state) await checkTexts(run.directory.dataPath, data.texts);
  if (!run.state) requireConditions(run.config, data);
  onEvent({ kind: "preparing", what: "building the graphs" });
  return Trainer.create(run, data, device, out, onEvent, atOnce);
}

/** A signal that may end work at any moment: of several ranks, all must go on to agree. */
const signalAtOnce = ({ size }: Communicator, signal?: AbortSignal) => (size === 1 ? signal : undefined);

class Trainer {
  private state: CheckpointState;
  /** Whether it has come to its first step, or to a checkpoint of before: from then on there is something to keep. */
  begun = false;
  /** Seconds trained before this process, and when this one began to train. */
  private readonly secondsBefore: number;
  private began = performance.now();
  /** Seconds trained and whether to stop, as last agreed upon. */
  private seconds: number;
  private stopping = false;
  /** Steps of the newest checkpoint, and of what this process has saved. */
  private saved = -1;
  private savedHere = -1;
  private lastLoss: number | null = null;
  private lastValidation: ValidMetrics | null = null;

  private constructor(
    private readonly config: RunConfig,
    private readonly out: string,
    private readonly communicator: Communicator,
    private readonly store: ParameterStore,
    private readonly step: TrainingStep,
    private readonly validation: Validation,
    private readonly record: RunRecord,
    private readonly validatedOn: ValidatedOn,
    private readonly onEvent: (event: TrainEvent) => void,
    state: CheckpointState | null,
  ) {
    const { seed } = config.training;
    this.state = state ?? {
      step: 0,
      tokens: 0,
      seconds: 0,
      seed,
      row: 0,
      timeSampler: {},
    };
    this.secondsBefore = this.state.seconds;
    this.seconds = this.state.seconds;
    if (state) this.saved = state.step;
  }

  static async create(
    run: OpenedRun,
    data: TrainingData,
    device: Device,
    out: string,
    onEvent: (event: TrainEvent) => void,
    signal?: AbortSignal,
  ): Promise<Trainer> {
    const { config, state, checkpointFolder } = run;
    const { communicator } = device;
    const random = new CounterRandom(config.training.seed);
    const definitions = denoiserParameters(config.model);
    const ema = config.training.emaDecay !== null;
    const { shardOptimizer } = config.training;
    const store = await device.createParameters(definitions, { training: true, ema, shardOptimizer });
    // Rank 0's numbers are everybody's: another build of Node.js may round a logarithm in another way.
    await onRankZero(communicator, store, shardOptimizer, async (all) => {
      if (checkpointFolder) return restoreCheckpoint(checkpointFolder, all, { ema });
      const values = initialParameters(definitions, random, Stream.Init);
      onEvent({ kind: "preparing", what: "counting tokens" });
      values[LOG_UNIGRAM] = await logUnigram(data.trainCorpus, { signal });
      values[OUTPUT_BIAS] = values[LOG_UNIGRAM].slice();
      await all.write("value", values);
      if (ema) await all.write("ema", values);
    });
    const step = await TrainingStep.create(config, data.train, random, device, store);
    if (state) step.timeSampler.restore((state.timeSampler.state ?? null) as TimeSamplerState);
    const validation = await Validation.create(config, data.valid, data.tokenizer, device);
    const done = state?.step ?? 0;
    const { metricsPath = null } = run.directory ?? {};
    const sequences = validation.rowsOf(config.training.evalSequences);
    const validatedOn = { texts: nameOfTexts(data.texts.valid), sequences };
    const validated = await broadcastJson(
      communicator,
      metricsPath === null ? null : validationAt(metricsPath, done, validatedOn),
    );
    onEvent({ kind: "ready", data, parameters: store.totalParameters, step: done, ranks: communicator.size });
    signal?.throwIfAborted();
    // Nothing is refused any more: what a resumed run was asked for becomes its own now.
    if (run.directory) await keepStart(run, run.directory, data);
    const onNotice = (message: string) => onEvent({ kind: "notice", message });
    const record = await RunRecord.open(communicator, run.directory, run.lock, state?.step ?? -1, onNotice);
    if (state)
      await record.mendModel(done, store, { ema, sharded: shardOptimizer }).catch((error: unknown) => {
        record.close();
        throw error;
      });
    const trainer = new Trainer(
      config,
      out,
      communicator,
      store,
      step,
      validation,
      record,
      validatedOn,
      onEvent,
      state,
    );
    trainer.lastValidation = validated;
    return trainer;
  }

  private async profile(): Promise<Extract<TrainEvent, { kind: "profile" }>> {
    this.onEvent({ kind: "preparing", what: "profiling a step" });
    const { sequenceLength } = this.config.training;
    const { batchSize } = rowShare(this.config.training, this.communicator); // this rank's
    const profile = await this.step.profile(this.state.row);
    return { kind: "profile", profile, tokens: batchSize * sequenceLength };
  }

  /** @throws the signal's reason where a new run is stopped before its first step */
  async run({ signal, profile = false }: TrainOptions): Promise<TrainSummary> {
    const { evalEvery, checkpointEvery } = this.config.training;
    const atOnce = signalAtOnce(this.communicator, signal);
    try {
      const profiled = profile ? await this.profile() : null;
      this.began = performance.now();
      await this.agree(signal);
      if (this.stopping && this.saved < 0)
        throw signal?.reason ?? new UserError("Stopped before the first step, as another rank was told to.");
      this.begun = true;
      if (profiled) this.onEvent(profiled); // not before: a run that is taken back leaves nothing
      // One that is due when a run is stopped is left to the process that goes on.
      if (this.validationDue() && this.used() < 1 && !this.stopping) await this.validate(atOnce);
      while (this.used() < 1 && !this.stopping) {
        await this.oneStep();
        await this.agree(signal);
        if (this.used() >= 1 || this.stopping) break;
        const { step } = this.state;
        if (step % checkpointEvery === 0) await this.save();
        if (this.validationDue()) await this.validate(atOnce);
        if (step % evalEvery === 0 || step % checkpointEvery === 0) await this.agree(signal);
      }
      await this.save();
      const validated = () => this.lastValidation?.step === this.state.step;
      if (this.used() >= 1 && !validated()) await this.validate(atOnce);
      return this.summary(this.used() < 1 || !validated());
    } finally {
      this.record.close();
    }
  }

  private validationDue(): boolean {
    const { step } = this.state;
    const { evalEvery } = this.config.training;
    return step > 0 && step % evalEvery === 0 && this.lastValidation?.step !== step;
  }

  /** Seconds trained, by this rank's clock. */
  private clock(): number {
    return this.secondsBefore + (performance.now() - this.began) / 1000;
  }

  /** Share of the budget used; by the seconds agreed upon it is the same on all ranks. */
  private used(seconds = this.seconds): number {
    const { step: steps, tokens } = this.state;
    return budgetUsed(this.config.training, { steps, tokens, seconds });
  }

  /** All ranks go by rank 0's clock, and all stop when one is told to. */
  private async agree(signal?: AbortSignal): Promise<void> {
    const sums = Float64Array.of(this.communicator.rank === 0 ? this.clock() : 0, signal?.aborted ? 1 : 0);
    await this.communicator.allReduce(sums);
    this.seconds = sums[0];
    this.stopping = sums[1] > 0;
  }

  private async oneStep(): Promise<void> {
    const { training } = this.config;
    const began = performance.now();
    const step = this.state.step + 1;
    const learningRate = learningRateAt(training, step, this.used());
    await this.keeping(() => this.step.read(this.state.row));
    const result = await this.step.run(this.state.row, step, learningRate);
    if (!result.applied || !Number.isFinite(result.loss)) throw notFinite(step, result, this.saved);
    const tokens = this.step.rowsPerStep * training.sequenceLength;
    this.lastLoss = result.loss;
    this.state = {
      ...this.state,
      step,
      tokens: this.state.tokens + tokens,
      seconds: this.clock(),
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
    if (step % training.logEvery === 0 || step === 1) this.record.append({ ...metrics });
    const used = this.used(this.state.seconds);
    const elapsed = this.state.seconds - this.secondsBefore;
    const left = used > 0 && used < 1 ? (this.state.seconds * (1 - used)) / used : null;
    this.onEvent({ kind: "step", metrics, secondsLeft: elapsed > 2 ? left : null });
  }

  /** Where `read` finds texts that cannot be read, what has been learned is kept (of one rank: a checkpoint takes all of them). */
  private async keeping<T>(read: () => T | Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (this.communicator.size === 1 && this.state.step > 0) await this.save().catch(() => {}); // the first error says more
      throw error;
    }
  }

  /** Aborted, it leaves nothing in the log and stops the run: the process that goes on makes up for it. */
  private async validate(signal?: AbortSignal): Promise<void> {
    this.onEvent({ kind: "validating" });
    const { evalSequences, emaDecay } = this.config.training;
    const slot = emaDecay === null ? "value" : "ema";
    const options = { sequences: evalSequences, slot, signal } as const;
    const run = () =>
      this.validation.run(this.store, options).catch((error: unknown) => {
        if (!signal?.aborted || error !== signal.reason) throw error;
        return null;
      });
    const result = await this.keeping(run);
    if (!result) {
      this.stopping = true;
      return;
    }
    const { step, tokens, seconds } = this.state;
    const metrics: ValidMetrics = { kind: "valid", step, tokens, seconds, ...this.validatedOn, ...result };
    this.lastValidation = metrics;
    this.record.append({ ...metrics });
    this.record.sync();
    this.onEvent({ kind: "validation", metrics });
  }

  private async save(): Promise<void> {
    // Also when the checkpoint was there before: the process that wrote it may have been killed before it came to the weights to use.
    if (this.savedHere === this.state.step) return;
    const { emaDecay, keepCheckpoints: keep, shardOptimizer: sharded } = this.config.training;
    const state: CheckpointState = {
      ...this.state,
      seconds: this.clock(),
      timeSampler: { state: this.step.timeSampler.state() as never },
    };
    const folder = await this.record.save(state, this.store, { keep, ema: emaDecay !== null, sharded });
    this.saved = this.state.step;
    this.savedHere = this.state.step;
    if (folder) this.onEvent({ kind: "checkpoint", folder, step: this.state.step });
  }

  private summary(interrupted: boolean): TrainSummary {
    const { step, tokens } = this.state;
    return {
      out: this.out,
      steps: step,
      tokens,
      seconds: this.clock(),
      loss: this.lastLoss,
      validation: this.lastValidation,
      parameters: this.store.totalParameters,
      interrupted,
    };
  }
}
