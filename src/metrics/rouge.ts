/**
 * @file ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004), without stemming, as torchmetrics and rouge-score compute them. From 0 to 1.
 *
 *     ROUGE-n: P, R = clipped matches of n-grams / n-grams of hypothesis, reference
 *     ROUGE-L: P, R = longest common subsequence / tokens of hypothesis, reference
 *     F = 2 P R / (P + R)
 */
import { matches, ngramCounts, ngramTotal, Vocabulary } from "./ngrams.js";
import { type References, referenceList } from "./text.js";

/** Each 0 to 1; all 0 where one side has no n-gram. */
export interface PrecisionRecall {
  readonly precision: number;
  readonly recall: number;
  readonly fmeasure: number;
}

export interface RougeScores {
  readonly rouge1: PrecisionRecall;
  readonly rouge2: PrecisionRecall;
  readonly rougeL: PrecisionRecall;
}

export interface RougeOptions {
  /**
   * Tokens of a text. Default: `rougeTokens`, as the tools do, which knows the letters a to z only; for other scripts use `words`
   * or the tokens of a tokenizer.
   */
  readonly tokenize?: (text: string) => readonly string[];
}

/** Runs of the ASCII letters and digits of the text in lower case; everything else separates. */
export function rougeTokens(text: string): string[] {
  return text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
}

/** P, R and F of `common` parts out of those of hypothesis and reference. */
export function precisionRecall(common: number, hypothesis: number, reference: number): PrecisionRecall {
  if (common === 0) return { precision: 0, recall: 0, fmeasure: 0 };
  const precision = common / hypothesis;
  const recall = common / reference;
  return { precision, recall, fmeasure: (2 * precision * recall) / (precision + recall) };
}

/** Length of the longest common subsequence: O(|a| |b|) time, O(|b|) memory. */
function longestCommonSubsequence(a: readonly number[], b: readonly number[]): number {
  let above = new Uint32Array(b.length + 1);
  let row = new Uint32Array(b.length + 1);
  for (const symbol of a) {
    for (let j = 0; j < b.length; j++)
      row[j + 1] = symbol === b[j] ? above[j] + 1 : Math.max(row[j], above[j + 1]);
    [above, row] = [row, above];
  }
  return above[b.length];
}

function scores(hypothesis: readonly string[], reference: readonly string[]): RougeScores {
  const vocabulary = new Vocabulary();
  const a = vocabulary.ids(hypothesis);
  const b = vocabulary.ids(reference);
  const ofOrder = (n: number) =>
    precisionRecall(
      matches(ngramCounts(a, n), ngramCounts(b, n)),
      ngramTotal(a.length, n),
      ngramTotal(b.length, n),
    );
  return {
    rouge1: ofOrder(1),
    rouge2: ofOrder(2),
    rougeL: precisionRecall(longestCommonSubsequence(a, b), a.length, b.length),
  };
}

/**
 * ROUGE of one text. Of several references, the one with the largest F counts, for each of the three scores by itself.
 *
 * @throws UserError when there is no reference
 */
export function rouge(
  hypothesis: string,
  references: References,
  { tokenize = rougeTokens }: RougeOptions = {},
): RougeScores {
  const tokens = tokenize(hypothesis);
  const all = referenceList(references).map((reference) => scores(tokens, tokenize(reference)));
  const best = (name: keyof RougeScores) =>
    all.map((each) => each[name]).reduce((most, other) => (other.fmeasure > most.fmeasure ? other : most));
  return { rouge1: best("rouge1"), rouge2: best("rouge2"), rougeL: best("rougeL") };
}
