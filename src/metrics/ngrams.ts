/**
 * @file Counts of n-grams, the material of most scores. Tokens become running numbers first, so that an n-gram's key is unambiguous
 * whatever the tokens contain.
 *
 *     clipped matches of n-grams = sum_g min(count in hypothesis(g), most often in one reference(g))     (Papineni et al. 2002)
 */
import type { Token } from "./text.js";

/** How often each n-gram occurs. */
export type NgramCounts = ReadonlyMap<string, number>;

/** Running numbers for tokens: equal tokens, equal numbers. What is compared must come from one vocabulary. */
export class Vocabulary {
  private readonly numbers = new Map<Token, number>();

  /** The number of each token; new tokens get the next ones, from 0. */
  ids(tokens: readonly Token[]): number[] {
    return tokens.map((token) => {
      let id = this.numbers.get(token);
      if (id === undefined) {
        id = this.numbers.size;
        this.numbers.set(token, id);
      }
      return id;
    });
  }
}

/** How many n-grams a text of `length` tokens has. */
export const ngramTotal = (length: number, n: number): number => Math.max(0, length - n + 1);

/** Counts of the n-grams of `ids`, for one n. */
export function ngramCounts(ids: readonly number[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= ids.length; i++) {
    let key = String(ids[i]);
    for (let k = 1; k < n; k++) key += `,${ids[i + k]}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

/** For each n-gram, how often it occurs in the text that has it most often. */
export function maximumCounts(texts: readonly NgramCounts[]): NgramCounts {
  if (texts.length === 1) return texts[0];
  const most = new Map<string, number>();
  for (const counts of texts)
    for (const [key, count] of counts) most.set(key, Math.max(count, most.get(key) ?? 0));
  return most;
}

/** Sum over n-grams of the smaller of both counts. */
export function matches(a: NgramCounts, b: NgramCounts): number {
  let sum = 0;
  for (const [key, count] of a) sum += Math.min(count, b.get(key) ?? 0);
  return sum;
}
