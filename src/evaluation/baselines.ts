/**
 * @file N-gram models that learned from the same tokens as the model, scored on the same held-out tokens: the texts of the rows it has
 * trained on, each counted once however often it came round, in pieces as the model saw them.
 */
import { type Row, type RowSource, TokenCorpus, type Tokenizer } from "../data/index.js";
import { NgramModel, type NgramScores } from "./ngram.js";

/** The text of rows: their documents apart, learned global tokens and padding left out. */
export function textsOf(rows: Iterable<Row>, vocabSize: number): TokenCorpus {
  const corpus = new TokenCorpus(vocabSize);
  for (const { ids, given, segment } of rows)
    for (let start = 0; start < ids.length; ) {
      let end = start + 1;
      while (end < ids.length && segment[end] === segment[start]) end++;
      let text = start;
      while (text < end && ids[text] >= vocabSize) text++;
      if (segment[start] >= 0 && text < end)
        corpus.append(ids.subarray(text, end), given.subarray(text, end));
      start = end;
    }
  return corpus;
}

function* firstRows(source: RowSource, count: number): Generator<Row> {
  for (let index = 0; index < count; index++) yield source.row(index);
}

/** Plain JSON. */
export interface NgramBaselines extends NgramScores {
  /** Rounds through the training texts; the n-grams learned from each text once. */
  readonly epochs: number;
}

/**
 * Trains the n-gram models on the first `trainedRows` rows of `train` (at most one epoch) and scores them on the first `sequences`
 * rows of `valid`.
 */
export function ngramBaselines(options: {
  train: RowSource;
  trainedRows: number;
  valid: RowSource;
  sequences: number;
  tokenizer: Pick<Tokenizer, "vocabSize" | "special" | "byteLengths">;
}): NgramBaselines {
  const { train, trainedRows, valid, sequences, tokenizer } = options;
  const { vocabSize, special, byteLengths } = tokenizer;
  const epoch = train.rowsInEpoch(0);
  const learned = textsOf(firstRows(train, Math.min(trainedRows, epoch)), vocabSize);
  const model = NgramModel.train(learned, { vocabSize, start: special.sep });
  const heldOut = textsOf(firstRows(valid, sequences), vocabSize);
  return { ...model.evaluate(heldOut, byteLengths), epochs: trainedRows / epoch };
}
