/**
 * @file Sentence BLEU as DiffuSeq reports it (arXiv 2210.08933): NLTK's `sentence_bleu` over words, smoothed by method 4 of Chen and
 * Cherry 2014. From 0 to 1.
 *
 *     BLEU = BP * exp(1/4 sum_{n : p_n > 0} ln p_n),     p_n = matches / max(1, n-grams)
 *
 * The k-th order without a match counts ln(h) / (5 * 2^k) of a match, where h > 1 is the number of words in the hypothesis.
 */
import { BLEU_ORDER, bleuCounts, brevityPenalty } from "./bleu.js";
import { type References, referenceList, words } from "./text.js";

/** K of Chen and Cherry. */
const K = 5;

/**
 * BLEU of one text over its words, 0 to 1. Without a common word it is 0. A text of less than four words scores below 1 even
 * against itself, because the orders it is too short for count as without a match; a single word has no such order.
 *
 * @throws UserError when there is no reference
 */
export function nltkSentenceBleu(hypothesis: string, references: References): number {
  const counts = bleuCounts(words(hypothesis), referenceList(references).map(words));
  const { correct, total, hypothesisLength, referenceLength } = counts;
  if (correct[0] === 0) return 0;
  let smallest = Math.log(hypothesisLength) / K;
  let logs = 0;
  for (let n = 0; n < BLEU_ORDER; n++) {
    if (correct[n] === 0) smallest /= 2;
    const matched = correct[n] === 0 ? smallest : correct[n];
    // ln(1) = 0: a hypothesis of one word is not smoothed, and an order of zero matches is left out.
    if (matched > 0) logs += Math.log(matched / Math.max(1, total[n])) / BLEU_ORDER;
  }
  return brevityPenalty(hypothesisLength, referenceLength) * Math.exp(logs);
}
