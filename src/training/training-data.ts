/**
 * @file The texts of a run, ready for training: split into training and validation by whole documents, tokenized, packed. Raw texts are
 * read as a stream and held as tokens; token caches stay on the disk. Both come to the same rows.
 *
 * Everything is a function of the configuration and the files, so that a resumed run sees what the first one saw.
 */
import type { RunConfig } from "../config/index.js";
import {
  CacheCorpus,
  type Corpus,
  CorpusPart,
  checkTokenizer,
  type Document,
  embeddedCorpus,
  heldOutDocuments,
  isAmong,
  isTokenCache,
  type OpenedCaches,
  openCaches,
  RowSource,
  readDocuments,
  type TextRecord,
  Tokenizer,
  tokenizeDocuments,
} from "../data/index.js";
import { type LayoutOptions, layoutLimits } from "../data/layout.js";
import { fingerprintOf } from "../data/tokenizer-fingerprint.js";
import { UserError } from "../errors.js";
import { largestBlock } from "../model/attention/pattern.js";
import { CounterRandom } from "../random/index.js";
import { VALIDATION_SEED } from "./validation-seed.js";

/**
 * Pieces looked at when a validation row is filled. Fewer than in training: the longest ones come first, and with 64 the texts of 16 rows
 * of short documents are a quarter longer than others; with 4 they hardly are, and rows are still about 95 % full.
 */
const VALIDATION_LOOK_AHEAD = 4;

/** What a run was made of, each with its checksum. */
export interface RunTexts {
  readonly train: readonly TextRecord[];
  readonly valid: readonly TextRecord[];
  /** Fingerprint of the vocabulary. */
  readonly tokenizer: string;
  /** Whether any text to train on is a source with its target. */
  readonly pairs: boolean;
}

export interface TrainingData {
  readonly tokenizer: Tokenizer;
  readonly train: RowSource;
  /** In a random order that is the same for all runs, so that the first rows are from all over the texts. Of use: epoch 0. */
  readonly valid: RowSource;
  readonly trainCorpus: Corpus;
  readonly validCorpus: Corpus;
  /** What the texts are called in reports, and those to validate on. */
  readonly source: string;
  readonly validSource: string;
  /** Broken records left out. */
  readonly skipped: number;
  /** Pairs that were cut to what a row holds. */
  readonly shortened: number;
  /** Documents that were not filled up with [PAD], as they are longer than `data.padTargets`. */
  readonly unpadded: number;
  /** What the paths held when they were read: to be held against what they hold when the run is resumed. */
  readonly texts: RunTexts;
  /** Closes the files of token caches. */
  close(): void;
}

export interface DataOptions {
  /** Use this vocabulary instead of the configuration's (a resumed run has its own). */
  readonly tokenizer?: Tokenizer;
  /** Told what is being done: it can take a while. */
  readonly onProgress?: (what: string) => void;
  readonly signal?: AbortSignal;
}

/** Reads and packs the texts of a configuration. Without data.train: the embedded corpus. */
export async function loadTrainingData(config: RunConfig, options: DataOptions = {}): Promise<TrainingData> {
  const loader = new Loader(config, options);
  try {
    return await loadWith(loader, config);
  } catch (error) {
    loader.close();
    throw error;
  }
}

async function loadWith(loader: Loader, config: RunConfig): Promise<TrainingData> {
  const { train, valid, validFraction, gapRate } = config.data;
  const { seed, sequenceLength, packing } = config.training;
  const random = new CounterRandom(seed);
  const sources = {
    train: await loader.open(train, "train"),
    // A cache brings its own validation texts.
    valid: await loader.open(valid.length > 0 ? valid : await withValidTexts(train), "valid"),
  };
  const holdsOut = train.length > 0 && sources.valid === null;
  let held: Uint32Array | null = null;
  let counted: number | null = null;
  if (holdsOut && sources.train?.kind === "texts" && !loader.tokenizer) {
    // The vocabulary is learned from what is trained on, so what is held out must be known before.
    counted = 0;
    for await (const _ of loader.documents(sources.train)) counted++;
    held = heldOutDocuments(counted, validFraction, random);
  }
  const tokenizer = loader.tokenizer ?? (await loader.trainTokenizer(sources.train, held));
  if (tokenizer.vocabSize !== config.model.vocabSize)
    throw new UserError(
      `model.vocabSize is ${config.model.vocabSize}, but the tokenizer has ${tokenizer.vocabSize} tokens; ` +
        `pass --set model.vocabSize=${tokenizer.vocabSize}${loader.hasCaches ? "." : ", or leave data.tokenizer out to train one."}`,
    );
  let trainCorpus = await loader.corpus(sources.train, "train", tokenizer);
  let validCorpus: Corpus;
  if (holdsOut) {
    const whole = trainCorpus;
    if (counted !== null && counted !== whole.size)
      throw new UserError(
        `${train.join(", ")} changed while the run was starting: it had ${counted} documents, then ${whole.size}. ` +
          "Start again when nothing writes there any more.",
      );
    held ??= heldOutDocuments(whole.size, validFraction, random);
    trainCorpus = new CorpusPart(whole, held, "kept");
    validCorpus = new CorpusPart(whole, held, "held");
  } else validCorpus = await loader.corpus(sources.valid, "valid", tokenizer);
  const rows = { tokenizer, length: sequenceLength, packing, ...globalsOf(config) };
  const trainRows = new RowSource(trainCorpus, {
    ...rows,
    shuffle: random,
    gaps: { rate: gapRate, random },
  });
  const validRows = new RowSource(validCorpus, {
    ...rows,
    maxGlobals: trainRows.maxGlobals,
    shuffle: new CounterRandom(VALIDATION_SEED),
    lookAhead: VALIDATION_LOOK_AHEAD,
  });
  const source = train.length > 0 ? train.join(", ") : "State of the Union addresses (embedded)";
  const ownValid = `${holdsOut || train.length === 0 ? "held out" : "validation texts"} of ${source}`;
  return {
    tokenizer,
    train: trainRows,
    valid: validRows,
    trainCorpus,
    validCorpus,
    source,
    validSource: valid.length > 0 ? valid.join(", ") : ownValid,
    skipped: loader.skipped,
    shortened: loader.shortened,
    unpadded: loader.unpadded,
    texts: { ...loader.records, tokenizer: fingerprintOf(tokenizer), pairs: hasPairs(trainCorpus) },
    close: () => loader.close(),
  };
}

function hasPairs(corpus: Corpus): boolean {
  for (let document = 0; document < corpus.size; document++) if (corpus.conditional(document)) return true;
  return false;
}

/** The documents that a run holds out of the texts or caches it trains on, in order; where it has validation texts of their own, none. */
export async function* heldOutTexts(
  { data, training }: Pick<RunConfig, "data" | "training">,
  signal?: AbortSignal,
): AsyncGenerator<Document> {
  const { train, valid, validFraction, onBadRecord, documentPer } = data;
  if (train.length === 0 || valid.length > 0 || (await withValidTexts(train)).length > 0) return;
  const read = async function* () {
    for await (const document of readDocuments(train, { onBadRecord, documentPer })) {
      signal?.throwIfAborted();
      yield document;
    }
  };
  let size = 0;
  for await (const _ of read()) size++;
  const held = heldOutDocuments(size, validFraction, new CounterRandom(training.seed));
  let number = 0;
  for await (const document of read()) if (isAmong(held, number++)) yield document;
}

/** Those of some paths that are token caches with validation texts. */
export async function withValidTexts(paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths)
    if ((await isTokenCache(path)) && (await openCaches([path], "valid")).hasValidTexts) found.push(path);
  return found;
}

type Part = "train" | "valid";
/** Where the documents of a part come from; null (of loader.open): the embedded corpus, or held out of the training texts. */
type Source =
  | { readonly kind: "texts"; readonly paths: readonly string[] }
  | { readonly kind: "caches"; readonly caches: OpenedCaches };

/** Opens, reads and tokenizes what a configuration names. */
class Loader {
  tokenizer: Tokenizer | null;
  hasCaches = false;
  skipped = 0;
  shortened = 0;
  unpadded = 0;
  readonly records: { train: readonly TextRecord[]; valid: readonly TextRecord[] } = { train: [], valid: [] };
  private readonly opened: CacheCorpus[] = [];
  private readonly onProgress: (what: string) => void;

  private readonly layout: LayoutOptions;

  constructor(
    private readonly config: RunConfig,
    private readonly options: DataOptions,
  ) {
    const { model, training, data } = config;
    const { padTargets } = data;
    const maxLength = training.sequenceLength - model.attention.globalTokens;
    this.layout = { maxLength, padTargets };
    // Before anything is read: whether rows have room.
    layoutLimits(this.layout);
    if (padTargets !== null && padTargets > maxLength)
      throw new UserError(
        `data.padTargets: expected at most ${maxLength}, what a row holds (training.sequenceLength less model.attention.globalTokens), ` +
          `got ${padTargets}; lower it, or pass --set training.sequenceLength=${padTargets + model.attention.globalTokens}`,
      );
    this.tokenizer = options.tokenizer ?? null;
    this.onProgress = options.onProgress ?? (() => {});
  }

  /** Looks at what stands in the paths. Caches settle the tokenizer. */
  async open(paths: readonly string[], part: Part): Promise<Source | null> {
    if (paths.length === 0) return null;
    const { tokenizer } = this.config.data;
    if (!this.tokenizer && tokenizer) this.tokenizer = await Tokenizer.load(tokenizer);
    const caches: string[] = [];
    for (const path of paths) if (await isTokenCache(path)) caches.push(path);
    if (caches.length === 0) return { kind: "texts", paths };
    if (caches.length < paths.length)
      throw new UserError(
        `expected either token caches or texts, got both (${caches.join(", ")} beside ${paths.find((path) => !caches.includes(path))}); ` +
          "prepare all of them: `npx moe-diffuseq prepare` takes caches as texts too.",
      );
    const opened = await openCaches(caches, part);
    this.hasCaches = true;
    if (this.tokenizer) {
      const whose = this.options.tokenizer ? "the run" : (tokenizer ?? "the training texts");
      for (const path of caches) await checkTokenizer(path, this.tokenizer, whose);
    }
    this.tokenizer ??= opened.tokenizer;
    return { kind: "caches", caches: opened };
  }

  /** The documents of texts, read as a stream. */
  async *documents({ paths }: { readonly paths: readonly string[] }, part?: Part): AsyncGenerator<Document> {
    const { onBadRecord, documentPer } = this.config.data;
    const reader = readDocuments(paths, { onBadRecord, documentPer, checksums: part !== undefined });
    for await (const document of reader) {
      this.options.signal?.throwIfAborted();
      yield document;
    }
    if (part === undefined) return;
    this.skipped += reader.counts.skippedRecords;
    this.records[part] = reader.records;
  }

  async trainTokenizer(source: Source | null, held: Uint32Array | null): Promise<Tokenizer> {
    const { data, model } = this.config;
    if (data.tokenizer) return Tokenizer.load(data.tokenizer);
    this.onProgress(`training a vocabulary of ${model.vocabSize} tokens`);
    const documents = source?.kind === "texts" ? this.documents(source) : embeddedCorpus("train");
    async function* texts(): AsyncGenerator<string> {
      let number = 0;
      for await (const { text, src, trg } of documents) {
        if (held && isAmong(held, number++)) continue;
        for (const part of [text, src, trg]) if (part !== undefined) yield part;
      }
    }
    return Tokenizer.train(texts(), { vocabSize: model.vocabSize, signal: this.options.signal });
  }

  async corpus(source: Source | null, part: Part, tokenizer: Tokenizer): Promise<Corpus> {
    const { layout } = this;
    if (source?.kind === "caches") {
      this.onProgress("opening the token cache");
      this.skipped += source.caches.skippedRecords;
      this.records[part] = source.caches.records;
      const corpus = new CacheCorpus(source.caches, layout);
      this.opened.push(corpus);
      this.shortened += corpus.shortened;
      this.unpadded += corpus.unpadded;
      return corpus;
    }
    this.onProgress("reading and tokenizing the texts");
    const documents =
      source === null
        ? embeddedCorpus(part === "train" ? "train" : "validation")
        : this.documents(source, part);
    const corpus = await tokenizeDocuments(documents, tokenizer, layout);
    this.shortened += corpus.counts.shortened;
    this.unpadded += corpus.counts.unpadded;
    return corpus;
  }

  close(): void {
    for (const corpus of this.opened) corpus.close();
  }
}

export const globalsOf = ({ model: { attention, numLayers, numHeads } }: RunConfig) => ({
  globalTokens: attention.globalTokens,
  textGlobals: attention.textGlobals,
  maxTextGlobals: attention.maxTextGlobals,
  nearSpan: largestBlock(attention, numLayers, numHeads),
});

/** log of the smoothed relative frequencies of target tokens, float32 [V]: the prior of the channel and the first output bias. */
export async function logUnigram(
  corpus: Corpus,
  { smoothing = 0.5, signal }: { readonly smoothing?: number; readonly signal?: AbortSignal } = {},
): Promise<Float32Array> {
  const counts = new Float64Array(corpus.vocabSize).fill(smoothing);
  let total = smoothing * corpus.vocabSize;
  let last = performance.now();
  for (let d = 0; d < corpus.size; d++) {
    signal?.throwIfAborted();
    const [ids, given] = [corpus.ids(d), corpus.given(d)];
    for (let i = 0; i < ids.length; i++) {
      if (given[i] === 1) continue;
      counts[ids[i]]++;
      total++;
    }
    if (performance.now() - last > 20) {
      await new Promise<void>((resolve) => setTimeout(resolve)); // other work gets a turn
      last = performance.now();
    }
  }
  return Float32Array.from(counts, (count) => Math.log(count / total));
}
