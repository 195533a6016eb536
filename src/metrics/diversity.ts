/**
 * @file How much texts repeat each other. All from 0 to 1.
 *
 *     distinct-n = different n-grams / n-grams                                          (Li et al. 2016, arXiv 1510.03055)
 *     div-4 = distinct-4 over all candidates for one source, dist-1 = mean over texts of distinct-1    (DiffuSeq, 2210.08933)
 *     self-BLEU = mean BLEU of texts against each other: high where they are alike      (Zhu et al. 2018, arXiv 1802.01886)
 */
import { ngramCounts, ngramTotal, Vocabulary } from "./ngrams.js";
import { nltkSentenceBleu } from "./nltk-bleu.js";
import { checkCount, type Text, tokensOf } from "./text.js";

const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((a, b) => a + b, 0) / values.length;

/**
 * Different n-grams / n-grams, over all texts together; an n-gram never spans two texts. Falls with the amount of text: compare
 * equal amounts. Without any n-gram it is 0.
 *
 * @param texts tokens, or strings, whose words count
 * @throws UserError when n is no whole number from 1
 */
export function distinctN(texts: readonly Text[], n: number): number {
  checkCount("n", n);
  const vocabulary = new Vocabulary();
  const different = new Set<string>();
  let total = 0;
  for (const text of texts) {
    const ids = vocabulary.ids(tokensOf(text));
    total += ngramTotal(ids.length, n);
    for (const key of ngramCounts(ids, n).keys()) different.add(key);
  }
  return total === 0 ? 0 : different.size / total;
}

/** Mean over texts of different words / words in each: how little each repeats itself. An empty text counts 0. */
export const dist1 = (texts: readonly Text[]): number => mean(texts.map((text) => distinctN([text], 1)));

/** Different 4-grams / 4-grams of all `candidates` for one source together: how different they are. */
export const div4 = (candidates: readonly Text[]): number => distinctN(candidates, 4);

export interface SelfBleuOptions {
  /**
   * "pairs" (default): mean over pairs i < j of BLEU of text i against text j, as DiffuSeq does.
   * "rest": mean over texts of BLEU against all the others as references, as Zhu et al. do.
   */
  readonly against?: "pairs" | "rest";
}

/** Mean BLEU (`nltkSentenceBleu`) of the texts against each other, 0 to 1. Fewer than two texts have nothing in common: 0. */
export function selfBleu(texts: readonly string[], { against = "pairs" }: SelfBleuOptions = {}): number {
  if (texts.length < 2) return 0;
  if (against === "rest")
    return mean(
      texts.map((text, i) => nltkSentenceBleu(text, [...texts.slice(0, i), ...texts.slice(i + 1)])),
    );
  return mean(texts.flatMap((text, i) => texts.slice(i + 1).map((other) => nltkSentenceBleu(text, other))));
}
