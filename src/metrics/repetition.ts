/**
 * @file How much a text repeats itself (Welleck et al. 2020, arXiv 1908.04319). From 0 to 1.
 *
 *     seq-rep-n = rep-n = 1 - different n-grams / n-grams: the share of n-grams that occurred before in the text
 *     rep/l = tokens that occur among the l tokens before them / tokens
 */
import { distinctN } from "./diversity.js";
import { checkCount, type Text, type Token, tokensOf } from "./text.js";

/**
 * Share of the text's n-grams that occurred before in it: seq-rep-n. A text without n-grams has 0.
 *
 * @param text tokens, or a string, whose words count
 * @param n default 4
 * @throws UserError when n is no whole number from 1
 */
export function repetition(text: Text, n = 4): number {
  checkCount("n", n);
  const tokens = tokensOf(text);
  return tokens.length < n ? 0 : 1 - distinctN([tokens], n);
}

/**
 * Share of the text's tokens that occur among the `window` tokens before them: rep/l. An empty text has 0.
 *
 * @param text tokens, or a string, whose words count
 * @param window in tokens, default 128
 * @throws UserError when the window is no whole number from 1
 */
export function windowRepetition(text: Text, window = 128): number {
  checkCount("window", window);
  const tokens = tokensOf(text);
  const lastSeen = new Map<Token, number>();
  let repeated = 0;
  for (const [i, token] of tokens.entries()) {
    if (i - (lastSeen.get(token) ?? Number.NEGATIVE_INFINITY) <= window) repeated++;
    lastSeen.set(token, i);
  }
  return tokens.length === 0 ? 0 : repeated / tokens.length;
}
