/**
 * @file Edit similarity of two texts (Levenshtein 1966), from 0 to 1.
 *
 *     similarity = 1 - d / max(|a|, |b|),     d: fewest insertions, deletions and substitutions that make b of a
 */
import { distance } from "fastest-levenshtein";
import { UserError } from "../errors.js";
import { codePoints, type Text, type Token, words } from "./text.js";

export interface EditOptions {
  /** What strings are cut into: Unicode code points ("character", default) or words ("word"). Tokens are taken as they are. */
  readonly unit?: "character" | "word";
}

/** The distance is computed over UTF-16 code units; so many different ones exist. */
const SYMBOLS = 0x10000;
/** Code unit of what the other text lacks: such symbols need not be told apart, because they match nothing. */
const ONLY_IN_A = 0;
const ONLY_IN_B = 1;

/** Both texts with one code unit for each token. */
function asCodeUnits(a: readonly Token[], b: readonly Token[]): [string, string] {
  const inB = new Set(b);
  const shared = [...new Set(a)].filter((token) => inB.has(token));
  if (shared.length > SYMBOLS - 2)
    throw new UserError(
      `edit similarity: expected at most ${SYMBOLS - 2} different tokens in common, got ${shared.length}; compare the texts in parts`,
    );
  const units = new Map(shared.map((token, i) => [token, i + 2]));
  const text = (tokens: readonly Token[], other: number) =>
    tokens.map((token) => String.fromCharCode(units.get(token) ?? other)).join("");
  return [text(a, ONLY_IN_A), text(b, ONLY_IN_B)];
}

/**
 * Edit similarity, 0 to 1; symmetric. Two empty texts score 1. O(|a| |b| / 32) time.
 *
 * @throws UserError when the texts share more than 65,534 different tokens
 */
export function editSimilarity(a: Text, b: Text, { unit = "character" }: EditOptions = {}): number {
  const cut = (text: Text): readonly Token[] =>
    typeof text !== "string" ? text : unit === "word" ? words(text) : codePoints(text);
  const [first, second] = [cut(a), cut(b)];
  const length = Math.max(first.length, second.length);
  return length === 0 ? 1 : 1 - distance(...asCodeUnits(first, second)) / length;
}
