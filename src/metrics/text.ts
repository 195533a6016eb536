/**
 * @file What the metrics take for a text: a string, or tokens made of it elsewhere. Words are what Python's `str.split()` returns,
 * because the tools that we agree with are written in Python; characters are Unicode code points, for the same reason.
 */
import { UserError } from "../errors.js";

/** A word, or an id of a tokenizer. Compared by value: 1 and "1" are two tokens. */
export type Token = string | number;

/** A string (its words count) or its tokens. */
export type Text = string | readonly Token[];

/** One right text, or several of which any is right. */
export type References = string | readonly string[];

// Python's list: Unicode White_Space and the four ASCII separators. JavaScript's \s lacks U+0085 and has U+FEFF.
// biome-ignore lint/suspicious/noControlCharactersInRegex: the separators count as white space
const SPACE = /[\p{White_Space}\x1c-\x1f]+/u;

/** The words between white space; none of them is empty. */
export function words(text: string): string[] {
  return text.split(SPACE).filter((word) => word !== "");
}

/** The text without white space at its end. */
export function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && SPACE.test(text[end - 1])) end--;
  return text.slice(0, end);
}

/** The Unicode code points, as numbers. */
export function codePoints(text: string): number[] {
  return Array.from(text, (character) => character.codePointAt(0)!);
}

/** Tokens as they are, a string as its words. */
export function tokensOf(text: Text): readonly Token[] {
  return typeof text === "string" ? words(text) : text;
}

/**
 * The references as a list.
 * @throws UserError when there is none
 */
export function referenceList(references: References): readonly string[] {
  const list = typeof references === "string" ? [references] : references;
  if (list.length === 0)
    throw new UserError(
      "metrics: expected at least one reference, got none; leave out texts without reference",
    );
  return list;
}

/** Those that are not empty, where there are some: sacrebleu takes empty ones for a filling, where texts have unlike numbers of references. */
export function saying(references: readonly string[]): readonly string[] {
  const found = references.filter((reference) => reference !== "");
  return found.length > 0 ? found : references;
}

/**
 * The references of every hypothesis as lists.
 * @throws UserError when the counts differ, or there is nothing to score
 */
export function corpusReferences(
  hypotheses: readonly string[],
  references: readonly References[],
): readonly (readonly string[])[] {
  if (hypotheses.length !== references.length)
    throw new UserError(
      `metrics: expected references for each of ${hypotheses.length} hypotheses, got ${references.length}; ` +
        "hand over one entry, a string or a list of them, for each hypothesis",
    );
  if (hypotheses.length === 0)
    throw new UserError(
      "metrics: expected at least one hypothesis, got none; a score of nothing is undefined",
    );
  return references.map(referenceList);
}

/**
 * A count that must be a whole number from 1.
 * @throws UserError otherwise
 */
export function checkCount(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1)
    throw new UserError(`metrics: expected ${name} to be a whole number from 1, got ${value}`);
}
