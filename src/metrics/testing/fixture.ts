/**
 * @file 306 pairs of texts (split sentences, abstracts, corner cases) with the scores that sacrebleu 2.6.0, NLTK 3.10.3 and
 * torchmetrics 1.9.0 give them, and sacrebleu's scores of all pairs as one corpus. ROUGE has six digits after the point.
 */
import { readFileSync } from "node:fs";

type RougeName = "rouge1" | "rouge2" | "rougeL";
type RougePart = "fmeasure" | "precision" | "recall";

export type ScoredPair = {
  readonly hypothesis: string;
  readonly reference: string;
  /** 0 to 1. */
  readonly nltk_sentence_bleu_method4: number;
  /** 0 to 100. */
  readonly sacrebleu_sentence_bleu: number;
  /** 0 to 100. */
  readonly sentence_chrf: number;
} & { readonly [score in `${RougeName}_${RougePart}`]: number };

export interface Fixture {
  readonly corpus: {
    readonly bleu: number;
    readonly precisions: readonly number[];
    readonly brevity_penalty: number;
    readonly sys_len: number;
    readonly ref_len: number;
    readonly chrf: number;
  };
  readonly pairs: readonly ScoredPair[];
}

export const fixture: Fixture = JSON.parse(readFileSync(new URL("./metrics.json", import.meta.url), "utf8"));

/** The largest difference between our score and the fixture's over all pairs. */
export function largestDeviation(
  ours: (pair: ScoredPair) => number,
  theirs: (pair: ScoredPair) => number,
): number {
  return Math.max(...fixture.pairs.map((pair) => Math.abs(ours(pair) - theirs(pair))));
}
