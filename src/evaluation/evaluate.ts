/**
 * @file The evaluation of a run: its averaged weights on held-out rows, at single noise levels, and beside n-gram models that learned
 * from the same tokens.
 *
 *     const report = await evaluateRun("runs/abstracts");
 *     console.log(formatEvaluation(report));
 */
import type { ModelDType } from "../config/index.js";
import { show } from "../config/layers.js";
import type { RowSource } from "../data/index.js";
import type { ExpertUse } from "../diffusion/expert-use.js";
import { UserError } from "../errors.js";
import { freeze } from "../graph/index.js";
import { denoiserParameters } from "../model/denoiser.js";
import { LOG_UNIGRAM } from "../model/embeddings.js";
import { isInt8Weight } from "../model/int8-weights.js";
import {
  createDevice,
  createInt8Memory,
  type Device,
  type DeviceKind,
  requireInt8,
} from "../runtime/index.js";
import { readPretrained } from "../sampling/pretrained.js";
import type { TrainingData } from "../training/training-data.js";
import { behindBound, type CountedBaselines, type NgramBaselines, ngramBaselines } from "./baselines.js";
import { type HeldOutLoss, type HeldOutResult, heldOutLoss } from "./held-out-loss.js";
import { compareLevels, type LevelResult } from "./levels.js";
import { MOST_IDS } from "./ngram.js";
import { NoisyRows } from "./noisy-rows.js";
import { RunTexts } from "./run-texts.js";
import { type Estimate, RatioEstimate } from "./statistics.js";
import { type TrainedSoFar, trainedSoFar } from "./trained-so-far.js";

/** Noise levels that are looked at one by one. */
export const DEFAULT_LEVELS: readonly number[] = [0.1, 0.3, 0.5, 0.7, 0.9, 1];

/** Rows that a bound is estimated from at least, each noised by itself. */
const NOISED_ROWS = 64;

export interface EvaluateOptions {
  /** Files or folders to evaluate on. Default: the run's own validation texts. */
  readonly data?: readonly string[] | undefined;
  /** Broken lines: stop there, or skip them. Default: the run's `data.onBadRecord`. */
  readonly onBadRecord?: "stop" | "skip" | undefined;
  /** Most rows of held-out text. Default: the run's `training.evalSequences`. */
  readonly sequences?: number | undefined;
  /**
   * Times each row is noised for the loss. Default: 1; in the masked limit, whose bound wants more, 4, and where there are few rows so
   * many that 64 noised ones are looked at in all. An autoregressive run has no noise: 1 and nothing else.
   */
  readonly draws?: number | undefined;
  /** Noise levels t in [0, 1] for the comparison with the channel. Default: `DEFAULT_LEVELS`; autoregressive: [1], or [] for none. */
  readonly levels?: readonly number[] | undefined;
  /** "q8": also the loss with the weights in eight bits, on the same noise. Default: "fp32". */
  readonly dtype?: ModelDType | undefined;
  /** Train n-gram models on the run's training texts. Default: true. */
  readonly baselines?: boolean | undefined;
  /** Default: "cpu". */
  readonly device?: DeviceKind | undefined;
  /** Threads that share one operator. Default: all processors. */
  readonly threads?: number | undefined;
  readonly onProgress?: ((progress: EvaluationProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface EvaluationProgress {
  readonly what: string;
  /** Batches done of all there are; 0 of 0 while preparing. */
  readonly done: number;
  readonly total: number;
}

/** Everything that was measured. Plain JSON. */
export interface EvaluationReport {
  readonly run: {
    readonly path: string;
    readonly preset: string | null;
    readonly parameters: number;
    /** The masked limit: there is a bound on the likelihood. */
    readonly masked: boolean;
    /** The autoregressive model: the bound is the likelihood itself. */
    readonly exact: boolean;
    /** null: neither checkpoint nor log says so. */
    readonly trained: TrainedSoFar | null;
  };
  /** What the held-out rows are made of. */
  readonly data: { readonly source: string; readonly length: number };
  readonly loss: HeldOutLoss;
  /** With the weights in eight bits; null when it was not asked for. */
  readonly quantized: QuantizedLoss | null;
  readonly levels: readonly LevelResult[];
  /** null without experts. */
  readonly experts: ExpertUse | null;
  /** null: not asked for, or `notes` says why not. */
  readonly ngrams: NgramBaselines | null;
  /** What a reader should know. */
  readonly notes: readonly string[];
}

/**
 * Evaluates the run in `path` with the weights of its model.safetensors.
 * @throws UserError when the run, its texts or an option is not as it should be; the signal's reason when it is aborted
 */
export async function evaluateRun(path: string, options: EvaluateOptions = {}): Promise<EvaluationReport> {
  const kind = options.device ?? "cpu";
  if (options.dtype === "q8") requireInt8(kind);
  const device = await createDevice(kind, { threads: options.threads });
  try {
    return await evaluateOn(device, path, options);
  } finally {
    await device.dispose();
  }
}

async function evaluateOn(device: Device, path: string, options: EvaluateOptions): Promise<EvaluationReport> {
  const { data: paths, signal, onProgress = () => {}, baselines = true } = options;
  const prepare = (what: string) => {
    signal?.throwIfAborted();
    onProgress({ what, done: 0, total: 0 });
  };
  prepare("reading the model");
  const { config, tokenizer, weights } = await readPretrained(path);
  const masked = !config.diffusion.gaussian;
  const exact = config.diffusion.objective === "next-token";
  const { sequences = config.training.evalSequences } = options;
  const { levels = exact ? [1] : DEFAULT_LEVELS } = options;
  checkOptions({ sequences, draws: options.draws ?? 1 }, levels);
  if (exact) requireNoNoise(path, options.draws ?? 1, levels);
  const trained = await trainedSoFar(path, config);
  const texts = await RunTexts.open(path, config, tokenizer, {
    ...{ data: paths, onBadRecord: options.onBadRecord, baselines, onProgress: prepare, signal },
    instead: "or give held-out texts with --valid",
  });
  try {
    const { own, valid } = texts;
    const notes = [...texts.notes];
    const count = Math.min(sequences, valid.rowsInEpoch());
    const { draws = masked && !exact ? drawsFor(count) : 1 } = options;
    let counted: CountedBaselines | null = null;
    if (baselines && own && config.model.vocabSize > MOST_IDS)
      notes.push(`No n-grams: they are counted up to a vocabulary of ${MOST_IDS} tokens.`);
    else if (baselines && own) {
      prepare("counting n-grams");
      const trainedRows = trained?.rows ?? own.train.rowsInEpoch(0);
      counted = await ngramBaselines({
        train: own.train,
        trainedRows,
        valid,
        sequences: count,
        tokenizer,
        signal,
      });
      if (!trained)
        notes.push("How far the run has trained is not known: the n-grams learned from all its texts.");
    }
    if (config.model.selfConditioning)
      notes.push("The network was given no earlier prediction (self-conditioning), here as in validation.");

    prepare("building the graphs");
    const store = await device.createParameters(denoiserParameters(config.model));
    await store.write("value", weights);
    const noisy = await NoisyRows.create(config, valid, count, device, store);
    const counter = batchCounter(
      noisy.batches * (draws * (options.dtype === "q8" ? 2 : 1) + levels.length),
      onProgress,
    );
    const measure = (network: NoisyRows, what: string) =>
      heldOutLoss(config, network, {
        draws,
        byteLengths: tokenizer.byteLengths,
        logUnigram: weights[LOG_UNIGRAM],
        signal,
        onBatch: counter(what),
      });
    const whole = await measure(noisy, "loss on held-out text");
    const { loss, documents } = whole;
    let quantized: QuantizedLoss | null = null;
    if (options.dtype === "q8") {
      const memory = await createInt8Memory(device);
      const q8 = await NoisyRows.create(config, valid, count, device, store, (module) =>
        freeze(module, weights, { int8: isInt8Weight, memory }),
      );
      quantized = quantizedLoss(whole, await measure(q8, "loss with weights in eight bits"));
      await q8.dispose();
    }
    const compared = await compareLevels(config, noisy, {
      levels,
      signal,
      onBatch: counter("noise levels"),
    });
    return {
      run: { path, preset: config.preset, parameters: store.totalParameters, masked, exact, trained },
      data: { source: sourceOf(own, valid, paths), length: config.training.sequenceLength },
      loss,
      quantized,
      ...compared,
      ngrams: counted && {
        ...counted.baselines,
        behind: documents && behindBound(counted.documentNats, documents),
      },
      notes,
    };
  } finally {
    texts.close();
  }
}

/** The same loss with the weights in eight bits, and how much of the likelihood that costs. */
export interface QuantizedLoss {
  readonly dtype: "q8";
  readonly loss: HeldOutLoss;
  /** Masked limit: bits per byte that the bound rises by (the same noise in both, the error over documents); null: there is no bound. */
  readonly boundIncrease: Estimate | null;
}

function quantizedLoss(whole: HeldOutResult, q8: HeldOutResult): QuantizedLoss {
  const difference = new RatioEstimate();
  for (const [document, { bound, bytes }] of whole.documents ?? [])
    difference.add(document, (q8.documents!.get(document)!.bound - bound) / Math.LN2, bytes);
  return { dtype: "q8", loss: q8.loss, boundIncrease: q8.documents && difference.estimate() };
}

function sourceOf(own: TrainingData | null, valid: RowSource, paths?: readonly string[]): string {
  if (paths) return paths.join(", ");
  return `${own?.validSource}; ${valid.rowsInEpoch()} sequences in all`;
}

/** Few rows are noised more often: of one or two at a few levels, chance decides what the bound comes to. */
const drawsFor = (rows: number): number => Math.max(4, Math.ceil(NOISED_ROWS / rows));

function checkOptions(numbers: Readonly<Record<string, number>>, levels: readonly number[]): void {
  for (const [name, value] of Object.entries(numbers))
    if (!Number.isInteger(value) || value < 1)
      throw new UserError(`${name}: expected an integer from 1 on, got ${value}`);
  if (!Array.isArray(levels))
    throw new UserError(
      `levels: expected a list of noise levels t from 0 to 1, got ${show(levels)}; leave it out for ${DEFAULT_LEVELS.join(", ")}`,
    );
  for (const time of levels)
    if (typeof time !== "number" || !(time >= 0 && time <= 1))
      throw new UserError(`levels: expected noise levels t from 0 to 1, got ${show(time)}`);
}

/** An autoregressive model knows one level, at which all targets are to be predicted, and has nothing to draw. */
function requireNoNoise(path: string, draws: number, levels: readonly number[]): void {
  const why = `as ${path} is autoregressive and noises nothing; leave it out`;
  if (levels.length > 1 || levels.some((time) => time !== 1))
    throw new UserError(`levels: expected [1] (or none), got [${levels.join(", ")}], ${why}`);
  if (draws !== 1) throw new UserError(`draws: expected 1, got ${draws}, ${why}`);
}

const batchCounter = (total: number, onProgress: (progress: EvaluationProgress) => void) => {
  let done = 0;
  return (what: string) => () => onProgress({ what, done: ++done, total });
};
