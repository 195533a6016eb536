/**
 * @file chrF: F-score of character n-grams (Popovic 2015) as sacrebleu computes it by default (character order 6, word order 0,
 * beta 2, white space left out), from 0 to 100.
 *
 *     chrF = 100 * (1 + beta^2) P R / (beta^2 P + R),     P, R: means over n = 1..6 of matches / n-grams of hypothesis, reference
 *
 * Orders that hypothesis or reference is too short for are left out of the means.
 */
import { matches, ngramCounts, ngramTotal } from "./ngrams.js";
import {
  checkCount,
  codePoints,
  corpusReferences,
  type References,
  referenceList,
  saying,
  words,
} from "./text.js";

export interface ChrfOptions {
  /** Longest n-gram, in characters. Default 6. */
  readonly charOrder?: number;
  /** How much more recall weighs than precision. Default 2. */
  readonly beta?: number;
}

/** Counts of one order: n-grams of the hypothesis, of the reference, and matches. */
interface OrderCounts {
  hypothesis: number;
  reference: number;
  matches: number;
}

const charactersOf = (text: string): number[] => codePoints(words(text).join(""));

function counts(
  hypothesis: readonly number[],
  reference: readonly number[],
  charOrder: number,
): OrderCounts[] {
  return Array.from({ length: charOrder }, (_, i) => {
    const ofReference = ngramTotal(reference.length, i + 1);
    return {
      // Without an n-gram in the reference the hypothesis could not have met one.
      hypothesis: ofReference === 0 ? 0 : ngramTotal(hypothesis.length, i + 1),
      reference: ofReference,
      matches: matches(ngramCounts(hypothesis, i + 1), ngramCounts(reference, i + 1)),
    };
  });
}

function score(orders: readonly OrderCounts[], beta: number): number {
  const used = orders.filter((order) => order.hypothesis > 0 && order.reference > 0);
  if (used.length === 0) return 0;
  const precision = used.reduce((sum, order) => sum + order.matches / order.hypothesis, 0) / used.length;
  const recall = used.reduce((sum, order) => sum + order.matches / order.reference, 0) / used.length;
  if (precision + recall === 0) return 0;
  const weight = beta * beta;
  return Math.min(100, (100 * (1 + weight) * precision * recall) / (weight * precision + recall));
}

/** Counts against the reference under which the hypothesis scores best; of equal ones the first. */
function bestCounts(
  hypothesis: string,
  references: readonly string[],
  charOrder: number,
  beta: number,
): OrderCounts[] {
  const characters = charactersOf(hypothesis);
  const all = saying(references).map((reference) => counts(characters, charactersOf(reference), charOrder));
  return all.reduce((best, other) => (score(other, beta) > score(best, beta) ? other : best));
}

/**
 * chrF of one text, 0 to 100: sacrebleu's `sentence_chrf`. Of several references the best counts. An empty text scores 0.
 *
 * @throws UserError when there is no reference, or `charOrder` is no whole number from 1
 */
export function chrf(
  hypothesis: string,
  references: References,
  { charOrder = 6, beta = 2 }: ChrfOptions = {},
): number {
  checkCount("charOrder", charOrder);
  return score(bestCounts(hypothesis, referenceList(references), charOrder, beta), beta);
}

/**
 * chrF of a corpus, 0 to 100: sacrebleu's `corpus_chrf`. Counts are summed over the hypotheses first.
 *
 * @param references for each hypothesis one reference or several
 * @throws UserError when the counts differ, a hypothesis has no reference, there is none, or `charOrder` is no whole number from 1
 */
export function corpusChrf(
  hypotheses: readonly string[],
  references: readonly References[],
  { charOrder = 6, beta = 2 }: ChrfOptions = {},
): number {
  checkCount("charOrder", charOrder);
  const lists = corpusReferences(hypotheses, references);
  const sums = Array.from({ length: charOrder }, () => ({ hypothesis: 0, reference: 0, matches: 0 }));
  for (const [i, hypothesis] of hypotheses.entries())
    for (const [n, order] of bestCounts(hypothesis, lists[i], charOrder, beta).entries()) {
      sums[n].hypothesis += order.hypothesis;
      sums[n].reference += order.reference;
      sums[n].matches += order.matches;
    }
  return score(sums, beta);
}
