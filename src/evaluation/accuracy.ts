/**
 * @file Accuracy of conditional generation: how many tokens of the target stand where they should, and the scores of translation and
 * summarisation for targets that may be worded otherwise.
 *
 *     accuracy = sum over pairs of matches / sum over pairs of max(length of target, length of text)
 *
 * A text that is too short or too long loses what is missing or too much; one that slips by a word loses the rest.
 */
import { chrf, corpusBleu, nltkSentenceBleu, rouge } from "../metrics/index.js";

/** A source and the one right target. */
export interface Pair {
  readonly src: string;
  readonly trg: string;
}

/** Writes a text for each source, in order. */
export type TargetWriter = (sources: readonly string[]) => Promise<readonly string[]>;

export interface AccuracyOptions {
  /** Tokens of a text, compared by value. Default: its words. */
  readonly tokensOf?: (text: string) => ArrayLike<number | string>;
  /** Sources handed over at a time. Default 16. */
  readonly batchSize?: number;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Texts against targets (docs/metrics.md). Plain JSON. */
export interface TargetScores {
  /** sacrebleu of the corpus, 0 to 100. */
  readonly bleu: number;
  /** Mean NLTK sentence BLEU, smoothing method 4, 0 to 1: the figure in DiffuSeq's tables. */
  readonly sentenceBleu: number;
  /** Mean F of ROUGE-L, 0 to 1. */
  readonly rougeL: number;
  /** Mean, 0 to 100. */
  readonly chrf: number;
}

/** Plain JSON. */
export interface AccuracyResult {
  readonly pairs: number;
  /** Tokens that count: of target or text, whichever is longer. */
  readonly tokens: number;
  /** Share of the tokens that are right and in their place. */
  readonly tokenAccuracy: number;
  /** Share of the texts that are right from beginning to end. */
  readonly exactMatch: number;
  readonly scores: TargetScores;
}

const wordsOf = (text: string): string[] => text.split(/\s+/).filter((word) => word !== "");

/**
 * Writes a target for every source and compares.
 *
 *     const write: TargetWriter = async (sources) =>
 *       (await generate(model, sources.map((src) => ({ src, length: 65 })), { temperature: 0 })).map(({ text }) => text);
 *     const { tokenAccuracy } = await exactAccuracy(copyTask({ documents: 100, first: 1_000_000 }), write);
 */
export async function exactAccuracy(
  pairs: readonly Pair[],
  write: TargetWriter,
  { tokensOf = wordsOf, batchSize = 16, onProgress = () => {}, signal }: AccuracyOptions = {},
): Promise<AccuracyResult> {
  let tokens = 0;
  let right = 0;
  let exact = 0;
  const written: string[] = [];
  for (let first = 0; first < pairs.length; first += batchSize) {
    signal?.throwIfAborted();
    const batch = pairs.slice(first, first + batchSize);
    const texts = await write(batch.map(({ src }) => src));
    if (texts.length !== batch.length)
      throw new Error(`accuracy: expected ${batch.length} texts, one for each source, got ${texts.length}`);
    written.push(...texts);
    for (const [i, { trg }] of batch.entries()) {
      const expected = tokensOf(trg);
      const got = tokensOf(texts[i]);
      const length = Math.max(expected.length, got.length);
      let matches = 0;
      for (let k = 0; k < length; k++)
        if (k < expected.length && k < got.length && expected[k] === got[k]) matches++;
      tokens += length;
      right += matches;
      if (matches === length) exact++;
    }
    onProgress(first + batch.length, pairs.length);
  }
  return {
    pairs: pairs.length,
    tokens,
    tokenAccuracy: tokens === 0 ? 0 : right / tokens,
    exactMatch: pairs.length === 0 ? 0 : exact / pairs.length,
    scores: targetScores(
      written,
      pairs.map(({ trg }) => trg),
    ),
  };
}

function targetScores(texts: readonly string[], targets: readonly string[]): TargetScores {
  const mean = (score: (text: string, target: string) => number) =>
    texts.reduce((sum, text, i) => sum + score(text, targets[i]), 0) / Math.max(1, texts.length);
  return {
    bleu: texts.length === 0 ? 0 : corpusBleu(texts, targets),
    sentenceBleu: mean(nltkSentenceBleu),
    rougeL: mean((text, target) => rouge(text, target).rougeL.fmeasure),
    chrf: mean((text, target) => chrf(text, target)),
  };
}
