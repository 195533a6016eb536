/**
 * @file BLEU (Papineni et al. 2002) as sacrebleu computes it (Post 2018, arXiv 1804.08771), from 0 to 100.
 *
 *     BLEU = 100 * BP * exp(1/4 sum_{n=1..4} ln p_n),     p_n = clipped matches / n-grams of the hypotheses
 *     BP = 1 where h >= r, else exp(1 - r / h)            h, r: length of the hypotheses and of the references nearest to them
 *
 * Smoothing "exp": the k-th order without a match counts 1 / 2^k of a match. Signature of `corpusBleu`:
 * case:mixed|eff:no|tok:13a|smooth:exp. A single sentence uses eff:yes: orders that it is too short for are left out.
 */
import { matches, maximumCounts, ngramCounts, ngramTotal, Vocabulary } from "./ngrams.js";
import { corpusReferences, type References, referenceList, saying } from "./text.js";
import { tokenize13a } from "./tokenize-13a.js";

export const BLEU_ORDER = 4;

export interface BleuOptions {
  /** Tokens of a text. Default: `tokenize13a`. Scores are comparable under one tokenizer only. */
  readonly tokenize?: (text: string) => readonly string[];
}

/** What BLEU is made of. Plain JSON. */
export interface BleuReport {
  /** 0 to 100. */
  readonly bleu: number;
  /** p_1 to p_4 after smoothing, 0 to 100. */
  readonly precisions: readonly number[];
  /** BP, 0 to 1. */
  readonly brevityPenalty: number;
  /** Tokens of the hypotheses. */
  readonly hypothesisLength: number;
  /** Tokens of the references, for each hypothesis the one nearest in length. */
  readonly referenceLength: number;
}

/** Counts of one sentence or, summed, of a corpus; entry n - 1 belongs to n-grams. */
export interface BleuCounts {
  readonly correct: number[];
  readonly total: number[];
  hypothesisLength: number;
  referenceLength: number;
}

/** The length nearest to `length`; of two at equal distance the shorter. */
function nearestLength(length: number, lengths: readonly number[]): number {
  return lengths.reduce((best, other) => {
    const nearer = Math.abs(other - length) - Math.abs(best - length);
    return nearer < 0 || (nearer === 0 && other < best) ? other : best;
  });
}

/** Matches and lengths of one hypothesis. */
export function bleuCounts(
  hypothesis: readonly string[],
  references: readonly (readonly string[])[],
): BleuCounts {
  const vocabulary = new Vocabulary();
  const ids = vocabulary.ids(hypothesis);
  const others = references.map((reference) => vocabulary.ids(reference));
  const correct: number[] = [];
  const total: number[] = [];
  for (let n = 1; n <= BLEU_ORDER; n++) {
    correct.push(matches(ngramCounts(ids, n), maximumCounts(others.map((other) => ngramCounts(other, n)))));
    total.push(ngramTotal(ids.length, n));
  }
  const referenceLength = nearestLength(
    ids.length,
    others.map(({ length }) => length),
  );
  return { correct, total, hypothesisLength: ids.length, referenceLength };
}

/** BP of the lengths, 0 to 1; a hypothesis without tokens has 0. */
export function brevityPenalty(hypothesisLength: number, referenceLength: number): number {
  if (hypothesisLength === 0) return 0;
  return hypothesisLength >= referenceLength ? 1 : Math.exp(1 - referenceLength / hypothesisLength);
}

function report(counts: BleuCounts, effectiveOrder: boolean): BleuReport {
  const { correct, total, hypothesisLength, referenceLength } = counts;
  const precisions: number[] = new Array(BLEU_ORDER).fill(0);
  const penalty = brevityPenalty(hypothesisLength, referenceLength);
  const orders = effectiveOrder ? total.filter((count) => count > 0).length : BLEU_ORDER;
  let bleu = 0;
  // Smoothing is for orders in a text that matches somewhere; a text without any match has no score to smooth.
  if (correct.some((count) => count > 0)) {
    let smallest = 1;
    for (let n = 0; n < BLEU_ORDER && total[n] > 0; n++) {
      if (correct[n] === 0) smallest /= 2;
      precisions[n] = (100 * (correct[n] === 0 ? smallest : correct[n])) / total[n];
    }
    const logs = precisions.slice(0, orders).reduce((sum, precision) => sum + Math.log(precision), 0);
    bleu = Math.min(100, penalty * Math.exp(logs / orders));
  }
  return { bleu, precisions, brevityPenalty: penalty, hypothesisLength, referenceLength };
}

/**
 * BLEU of a corpus with its parts. Matches and lengths are summed over the hypotheses first, so this is no mean of sentences.
 *
 * @param references for each hypothesis one reference or several; their number may differ
 * @throws UserError when the counts differ, a hypothesis has no reference, or there is none
 */
export function bleuReport(
  hypotheses: readonly string[],
  references: readonly References[],
  { tokenize = tokenize13a }: BleuOptions = {},
): BleuReport {
  const lists = corpusReferences(hypotheses, references);
  const sums: BleuCounts = {
    correct: new Array(BLEU_ORDER).fill(0),
    total: new Array(BLEU_ORDER).fill(0),
    hypothesisLength: 0,
    referenceLength: 0,
  };
  for (const [i, hypothesis] of hypotheses.entries()) {
    const counts = bleuCounts(
      tokenize(hypothesis),
      saying(lists[i]).map((reference) => tokenize(reference)),
    );
    for (let n = 0; n < BLEU_ORDER; n++) {
      sums.correct[n] += counts.correct[n];
      sums.total[n] += counts.total[n];
    }
    sums.hypothesisLength += counts.hypothesisLength;
    sums.referenceLength += counts.referenceLength;
  }
  return report(sums, false);
}

/**
 * BLEU of a corpus, 0 to 100: sacrebleu's `corpus_bleu`.
 *
 * @param references for each hypothesis one reference or several
 * @throws UserError as `bleuReport`
 */
export function corpusBleu(
  hypotheses: readonly string[],
  references: readonly References[],
  options: BleuOptions = {},
): number {
  return bleuReport(hypotheses, references, options).bleu;
}

/**
 * BLEU of one text, 0 to 100: sacrebleu's `sentence_bleu`. Of an empty text it is 0, whatever the reference.
 *
 * @throws UserError when there is no reference
 */
export function sentenceBleu(
  hypothesis: string,
  references: References,
  { tokenize = tokenize13a }: BleuOptions = {},
): number {
  const others = saying(referenceList(references)).map((reference) => tokenize(reference));
  return report(bleuCounts(tokenize(hypothesis), others), true).bleu;
}
