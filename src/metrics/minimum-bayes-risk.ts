/**
 * @file Choice by minimum Bayes risk (Kumar and Byrne 2004): of several candidates the one that agrees most with the others.
 *
 *     choice = argmax_i sum_{j != i} utility(candidate i, candidate j)
 *
 * DiffuSeq (arXiv 2210.08933) chooses so among candidates of several seeds, with sentence BLEU as utility.
 */
import { UserError } from "../errors.js";
import { nltkSentenceBleu } from "./nltk-bleu.js";

export interface MbrChoice {
  /** Place of the choice among the candidates. */
  readonly index: number;
  readonly candidate: string;
  /** For each candidate the sum of its utilities against the others. */
  readonly scores: readonly number[];
}

type Utility = (candidate: string, other: string) => number;

/** Candidate i's utilities against the others, summed. */
export const agreement = (
  candidates: readonly string[],
  i: number,
  utility: Utility = nltkSentenceBleu,
): number => candidates.reduce((sum, other, j) => (j === i ? sum : sum + utility(candidates[i], other)), 0);

/** The place of the largest score; of equal ones the first. */
export const mostAgreed = (scores: readonly number[]): number =>
  scores.reduce((best, score, i) => (score > scores[best] ? i : best), 0);

/**
 * The candidate with the largest summed utility; of equal ones the first. Equal candidates speak for each other.
 *
 *     mbrSelect(texts).candidate
 *     mbrSelect(texts, (text, other) => chrf(text, other)).index
 *
 * @param utility how well the first text does if the second is right; higher is better. Default: `nltkSentenceBleu`
 * @throws UserError when there is no candidate, or a utility is not a number
 */
export function mbrSelect(candidates: readonly string[], utility: Utility = nltkSentenceBleu): MbrChoice {
  if (candidates.length === 0)
    throw new UserError("minimum Bayes risk: expected at least one candidate, got none; generate some first");
  const scores = candidates.map((_, i) => agreement(candidates, i, utility));
  const wrong = scores.findIndex(Number.isNaN);
  if (wrong >= 0)
    throw new UserError(
      `minimum Bayes risk: expected numbers from the utility, got NaN for candidate ${wrong}; mend the utility`,
    );
  const index = mostAgreed(scores);
  return { index, candidate: candidates[index], scores };
}
