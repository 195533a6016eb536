/**
 * @file N-gram models that learned from the same tokens as the model, scored on the same held-out tokens: the texts of the rows it has
 * trained on, each counted once however often it came round, in pieces as the model saw them.
 */
import { type Row, type RowSource, TokenCorpus, type Tokenizer, takeTurns } from "../data/index.js";
import type { DocumentBounds } from "./held-out-loss.js";
import { NgramModel, type NgramScores } from "./ngram.js";
import { type Estimate, RatioEstimate } from "./statistics.js";

/** The text of rows: their documents apart, learned global tokens and padding left out. */
export function textsOf(rows: Iterable<Row>, vocabSize: number): TokenCorpus {
  const corpus = new TokenCorpus(vocabSize);
  for (const row of rows) appendText(corpus, row);
  return corpus;
}

function appendText(corpus: TokenCorpus, { ids, given, segment }: Row): void {
  for (let start = 0; start < ids.length; ) {
    let end = start + 1;
    while (end < ids.length && segment[end] === segment[start]) end++;
    let text = start;
    while (text < end && ids[text] >= corpus.vocabSize) text++;
    if (segment[start] >= 0 && text < end) corpus.append(ids.subarray(text, end), given.subarray(text, end));
    start = end;
  }
}

function* firstRows(source: RowSource, count: number): Generator<Row> {
  for (let index = 0; index < count; index++) yield source.row(index);
}

export const ngramOrders = ["unigram", "bigram", "trigram"] as const;
export type NgramOrder = (typeof ngramOrders)[number];

/** Plain JSON. */
export interface NgramBaselines extends NgramScores {
  /** Rounds through the training texts; the n-grams learned from each text once. */
  readonly epochs: number;
  /** How many bits a byte each needs more than the model's bound, on the same rows, the error over documents; null where there is no bound. */
  readonly behind: Readonly<Record<NgramOrder, Estimate>> | null;
}

export type DocumentNats = Readonly<Record<NgramOrder, ReadonlyMap<number, number>>>;

export interface CountedBaselines {
  readonly baselines: NgramBaselines;
  /** Nats of what the rows have of each document, by its number. */
  readonly documentNats: DocumentNats;
}

/**
 * Trains the n-gram models on the first `trainedRows` rows of `train` (at most one epoch) and scores them on the first `sequences`
 * rows of `valid`.
 * @throws the signal's reason when it is aborted
 */
export async function ngramBaselines(options: {
  train: RowSource;
  trainedRows: number;
  valid: RowSource;
  sequences: number;
  tokenizer: Pick<Tokenizer, "vocabSize" | "special" | "byteLengths">;
  signal?: AbortSignal | undefined;
}): Promise<CountedBaselines> {
  const { train, trainedRows, valid, sequences, tokenizer, signal } = options;
  const { vocabSize, special, byteLengths } = tokenizer;
  const { pause, turn } = takeTurns(signal);
  const epoch = train.rowsInEpoch(0);
  const learned = new TokenCorpus(vocabSize);
  for (const row of firstRows(train, Math.min(trainedRows, epoch))) {
    appendText(learned, row);
    await pause();
  }
  const model = NgramModel.train(learned, { vocabSize, start: special.sep });
  const documentNats = { unigram: new Map(), bigram: new Map(), trigram: new Map() };
  for (let index = 0; index < sequences; index++) {
    await pause();
    const pieces = textsOf([valid.row(index)], vocabSize);
    for (const [segment, document] of valid.documentsOf(index).entries()) {
      const piece = { size: 1, ids: () => pieces.ids(segment), given: () => pieces.given(segment) };
      const scores = model.evaluate(piece);
      if (scores.tokens === 0) continue;
      for (const order of ngramOrders) {
        const before = documentNats[order].get(document) ?? 0;
        documentNats[order].set(document, before + scores[order].natsPerToken * scores.tokens);
      }
    }
  }
  const heldOut = textsOf(firstRows(valid, sequences), vocabSize);
  const scores = model.evaluate(heldOut, byteLengths);
  await turn(); // stopped meanwhile, there is no result
  return { baselines: { ...scores, epochs: trainedRows / epoch, behind: null }, documentNats };
}

/** Bits a byte that each n-gram model needs more than a bound, paired by document: what makes one hard for both cancels out. */
export function behindBound(
  documentNats: DocumentNats,
  bounds: DocumentBounds,
): Record<NgramOrder, Estimate> {
  const difference = (nats: ReadonlyMap<number, number>): Estimate => {
    const collected = new RatioEstimate();
    for (const [document, { bound, bytes }] of bounds)
      collected.add(document, ((nats.get(document) ?? 0) - bound) / Math.LN2, bytes);
    return collected.estimate() ?? { mean: Number.NaN, standardError: null };
  };
  return {
    unigram: difference(documentNats.unigram),
    bigram: difference(documentNats.bigram),
    trigram: difference(documentNats.trigram),
  };
}
