/**
 * @file Exact scores: whole texts, tokens in their places, and the bag of tokens of SQuAD (Rajpurkar et al. 2016, 2018).
 *
 *     exact match = 1 where the texts are equal, else 0
 *     exact tokens = places with equal tokens / max(tokens of hypothesis, tokens of reference)
 *     token F1 = 2 P R / (P + R),     P, R = common words / words of hypothesis, reference
 */
import { matches, ngramCounts, Vocabulary } from "./ngrams.js";
import { precisionRecall } from "./rouge.js";
import { type References, referenceList, type Text, tokensOf, words } from "./text.js";

export interface MatchOptions {
  /** What is done to both texts before they are compared. Default: nothing; `normaliseSquad` for question answering. */
  readonly normalise?: (text: string) => string;
}

const ASCII_PUNCTUATION = /[!-/:-@[-`{-~]/g;
const ARTICLES = /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu;

/** The text in lower case without ASCII punctuation, English articles and superfluous white space, as SQuAD's script has it. */
export function normaliseSquad(text: string): string {
  return words(text.toLowerCase().replace(ASCII_PUNCTUATION, "").replace(ARTICLES, " ")).join(" ");
}

const asIs = (text: string): string => text;

/**
 * 1 where the text equals a reference, else 0.
 *
 * @throws UserError when there is no reference
 */
export function exactMatch(
  hypothesis: string,
  references: References,
  { normalise = asIs }: MatchOptions = {},
): number {
  const text = normalise(hypothesis);
  return referenceList(references).some((reference) => normalise(reference) === text) ? 1 : 0;
}

function f1(hypothesis: readonly string[], reference: readonly string[]): number {
  // SQuAD 2: no answer is right where none is wanted.
  if (hypothesis.length === 0 && reference.length === 0) return 1;
  const vocabulary = new Vocabulary();
  const [a, b] = [vocabulary.ids(hypothesis), vocabulary.ids(reference)];
  return precisionRecall(matches(ngramCounts(a, 1), ngramCounts(b, 1)), a.length, b.length).fmeasure;
}

/**
 * F1 of the words, whatever their order, 0 to 1; of several references the best. Two texts without words score 1.
 *
 * @throws UserError when there is no reference
 */
export function tokenF1(
  hypothesis: string,
  references: References,
  { normalise = asIs }: MatchOptions = {},
): number {
  const tokens = words(normalise(hypothesis));
  return Math.max(...referenceList(references).map((reference) => f1(tokens, words(normalise(reference)))));
}

/**
 * Share of places at which hypothesis and reference have the same token, 0 to 1. What is missing or too much counts as wrong.
 * Two texts without tokens score 1.
 */
export function exactTokens(hypothesis: Text, reference: Text): number {
  const a = tokensOf(hypothesis);
  const b = tokensOf(reference);
  const length = Math.max(a.length, b.length);
  if (length === 0) return 1;
  let right = 0;
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] === b[i]) right++;
  return right / length;
}
