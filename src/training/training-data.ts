/**
 * @file The texts of a run, ready for training: read, split into training and validation by whole documents, tokenized, packed.
 *
 * Everything is a function of the configuration and the files, so that a resumed run sees what the first one saw.
 */
import type { RunConfig } from "../config/index.js";
import {
  type Document,
  embeddedCorpus,
  RowSource,
  readDocuments,
  type TokenCorpus,
  Tokenizer,
  tokenizeDocuments,
} from "../data/index.js";
import { UserError } from "../errors.js";
import { CounterRandom, Stream } from "../random/index.js";

export interface TrainingData {
  readonly tokenizer: Tokenizer;
  readonly train: RowSource;
  readonly valid: RowSource;
  readonly trainCorpus: TokenCorpus;
  readonly validCorpus: TokenCorpus;
  /** What the texts are called in reports. */
  readonly source: string;
  /** Broken records left out. */
  readonly skipped: number;
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
  const { onProgress = () => {}, signal } = options;
  const { train, valid, onBadRecord, documentPer, validFraction } = config.data;
  const reading = { onBadRecord, documentPer };
  let skipped = 0;
  const read = async (paths: readonly string[]): Promise<Document[]> => {
    const reader = readDocuments([...paths], reading);
    const documents: Document[] = [];
    for await (const document of reader) {
      signal?.throwIfAborted();
      documents.push(document);
    }
    skipped += reader.counts.skippedRecords;
    return documents;
  };

  onProgress("reading the texts");
  let trainDocuments = train.length > 0 ? await read(train) : embeddedCorpus("train");
  let validDocuments =
    valid.length > 0 ? await read(valid) : train.length > 0 ? null : embeddedCorpus("validation");
  if (!validDocuments)
    [trainDocuments, validDocuments] = holdOut(trainDocuments, validFraction, config.training.seed);

  const tokenizer = options.tokenizer ?? (await chooseTokenizer(config, trainDocuments, onProgress));
  if (tokenizer.vocabSize !== config.model.vocabSize)
    throw new UserError(
      `model.vocabSize is ${config.model.vocabSize}, but the tokenizer has ${tokenizer.vocabSize} tokens; ` +
        `pass --set model.vocabSize=${tokenizer.vocabSize}, or leave data.tokenizer out to train one.`,
    );
  onProgress("tokenizing");
  const { attention } = config.model;
  const room = config.training.sequenceLength - attention.globalTokens;
  const tokenize = (documents: Document[]) =>
    tokenizeDocuments(documents, tokenizer, { maxLength: room, padTargets: config.data.padTargets });
  const trainCorpus = await tokenize(trainDocuments);
  const validCorpus = await tokenize(validDocuments);
  const rows = {
    tokenizer,
    length: config.training.sequenceLength,
    packing: config.training.packing,
    ...globalsOf(config),
  };
  const trainRows = new RowSource(trainCorpus, { ...rows, shuffle: new CounterRandom(config.training.seed) });
  const validRows = new RowSource(validCorpus, { ...rows, maxGlobals: trainRows.maxGlobals });
  return {
    tokenizer,
    train: trainRows,
    valid: validRows,
    trainCorpus,
    validCorpus,
    source: train.length > 0 ? train.join(", ") : "State of the Union addresses (embedded)",
    skipped,
  };
}

export const globalsOf = ({ model: { attention } }: RunConfig) => ({
  globalTokens: attention.globalTokens,
  textGlobals: attention.textGlobals,
  maxTextGlobals: attention.maxTextGlobals,
});

/** Holds out a share of the documents, at least one, chosen by the seed; both parts keep their order. */
function holdOut(documents: Document[], fraction: number, seed: number): [Document[], Document[]] {
  if (documents.length < 2)
    throw new UserError(
      `There is only ${documents.length === 1 ? "one document" : "no document"} to train on, so none can be held out for validation; ` +
        "give more documents, or validation texts with --valid.",
    );
  const count = Math.min(documents.length - 1, Math.max(1, Math.round(documents.length * fraction)));
  const order = new CounterRandom(seed).permutation(documents.length, Stream.Split, 0);
  const held = new Set(order.subarray(0, count));
  return [documents.filter((_, i) => !held.has(i)), documents.filter((_, i) => held.has(i))];
}

async function chooseTokenizer(
  config: RunConfig,
  documents: readonly Document[],
  onProgress: (what: string) => void,
): Promise<Tokenizer> {
  if (config.data.tokenizer) return Tokenizer.load(config.data.tokenizer);
  onProgress(`training a vocabulary of ${config.model.vocabSize} tokens`);
  function* texts(): Generator<string> {
    for (const { text, src, trg } of documents)
      for (const part of [text, src, trg]) if (part !== undefined) yield part;
  }
  return Tokenizer.train(texts(), { vocabSize: config.model.vocabSize });
}

/** log of the smoothed relative frequencies of target tokens, float32 [V]: the prior of the channel and the first output bias. */
export function logUnigram(corpus: TokenCorpus, smoothing = 0.5): Float32Array {
  const counts = new Float64Array(corpus.vocabSize).fill(smoothing);
  let total = smoothing * corpus.vocabSize;
  for (let d = 0; d < corpus.size; d++) {
    const [ids, given] = [corpus.ids(d), corpus.given(d)];
    for (let i = 0; i < ids.length; i++) {
      if (given[i] === 1) continue;
      counts[ids[i]]++;
      total++;
    }
  }
  return Float32Array.from(counts, (count) => Math.log(count / total));
}
