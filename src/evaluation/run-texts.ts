/** @file The texts of a run as an evaluation reads them: what it learned from, and what is held out. */
import { join } from "node:path";
import type { RunConfig } from "../config/index.js";
import { type RowSource, Tokenizer } from "../data/index.js";
import { UserError } from "../errors.js";
import { readPretrainedConfig } from "../sampling/pretrained.js";
import { checkTexts, nameOfTexts } from "../training/data-record.js";
import { readMetrics } from "../training/metrics-log.js";
import { loadTrainingData, type TrainingData } from "../training/training-data.js";
import { type NgramOrder, ngramBaselines, ngramOrders } from "./baselines.js";
import { MOST_IDS } from "./ngram.js";
import { trainedSoFar } from "./trained-so-far.js";

export interface RunTextsOptions {
  /** Files or folders that are held out. Default: the run's own validation texts. */
  readonly data?: readonly string[] | undefined;
  /** Default: the run's `data.onBadRecord`. */
  readonly onBadRecord?: "stop" | "skip" | undefined;
  /** Whether what the run learned from is needed. */
  readonly baselines: boolean;
  /** What can be done without the run's own texts, for messages: "or ...". */
  readonly instead: string;
  readonly onProgress?: ((what: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Open until `close`. */
export class RunTexts {
  private constructor(
    /** null: not needed, or not there as they were, which `notes` says. */
    readonly own: TrainingData | null,
    private readonly other: TrainingData | null,
    readonly notes: readonly string[],
  ) {}

  /** @throws UserError when texts that are needed are missing, or are not those that the run began with */
  static async open(
    path: string,
    config: RunConfig,
    tokenizer: Tokenizer,
    { data, onBadRecord = config.data.onBadRecord, baselines, instead, onProgress, signal }: RunTextsOptions,
  ): Promise<RunTexts> {
    const notes: string[] = [];
    // Baselines learn from whole texts, whatever parts of them training gives.
    const load = (settings: RunConfig) =>
      loadTrainingData(
        { ...settings, data: { ...settings.data, gapRate: 0, onBadRecord } },
        { tokenizer, onProgress, signal },
      );
    const own = data && !baselines ? null : await loadOwn(load, path, config, instead, data ? notes : null);
    try {
      const other = data
        ? await load({ ...config, data: { ...config.data, train: [...data], valid: [...data] } })
        : null;
      return new RunTexts(own, other, notes);
    } catch (error) {
      own?.close();
      throw error;
    }
  }

  get valid(): RowSource {
    return (this.other ?? this.own!).valid;
  }

  close(): void {
    this.own?.close();
    this.other?.close();
  }
}

/**
 * The run's own texts, as they were when it began: of others, what is held out may be what it learned from. With `notes` the evaluation
 * does without them where they are gone, and says so.
 */
async function loadOwn(
  load: (config: RunConfig) => Promise<TrainingData>,
  path: string,
  config: RunConfig,
  instead: string,
  notes: string[] | null,
): Promise<TrainingData | null> {
  let data: TrainingData | null = null;
  try {
    data = await load(config);
    await checkTexts(join(path, "data.json"), data.texts, instead);
    return data;
  } catch (error) {
    data?.close();
    if (!notes || !(error instanceof UserError)) throw error;
    notes.push(`No n-gram baselines, since the training texts are not there as they were: ${error.message}`);
    return null;
  }
}

/**
 * What n-gram models reach on the rows that the run in `path` validates on, in bits a byte: trained on those that it has learned from.
 * @throws UserError as `RunTexts.open`, and where the run has last validated on other rows
 */
export async function runBaselines(
  path: string,
  options: Pick<RunTextsOptions, "onProgress" | "signal"> = {},
): Promise<{ readonly name: NgramOrder; readonly bitsPerByte: number }[]> {
  // Not the weights, which are written at the first checkpoint.
  const [config, tokenizer] = [await readPretrainedConfig(path), await Tokenizer.load(path)];
  if (config.model.vocabSize > MOST_IDS)
    throw new UserError(
      `${path}: n-grams are counted up to a vocabulary of ${MOST_IDS} tokens, it has ${config.model.vocabSize}; do without them.`,
    );
  const texts = await RunTexts.open(path, config, tokenizer, {
    ...options,
    baselines: true,
    instead: "or do without the n-gram models (report without --baselines)",
  });
  try {
    const [{ train, texts: read }, { valid }] = [texts.own!, texts];
    requireSameRows(path, nameOfTexts(read.valid));
    const trained = await trainedSoFar(path, config);
    const { baselines } = await ngramBaselines({
      train,
      trainedRows: trained?.rows ?? train.rowsInEpoch(0),
      valid,
      sequences: Math.min(config.training.evalSequences, valid.rowsInEpoch()),
      tokenizer,
      signal: options.signal,
    });
    return ngramOrders.map((name) => ({ name, bitsPerByte: baselines[name].bitsPerByte! }));
  } finally {
    texts.close();
  }
}

/** Else they would stand beside figures of other rows. */
function requireSameRows(path: string, name: string): void {
  const last = readMetrics(join(path, "metrics.jsonl")).findLast(({ kind }) => kind === "valid");
  if (last && last.texts !== name)
    throw new UserError(
      `${path} has last validated on other rows than n-gram models would be scored on (other texts, or the first rows of them, as earlier ` +
        `versions did): go on with the run, which then validates anew (train --resume --out ${path}), or do without the n-gram models ` +
        "(report without --baselines).",
    );
}
