/**
 * @file The tokenizer "13a" of BLEU scores in the literature: the rules of NIST's mteval-v13a as sacrebleu applies them
 * (Post 2018, arXiv 1804.08771). Letter case stays.
 */
import { trimEnd, words } from "./text.js";

/** ASCII punctuation and symbols that always stand alone: all but apostrophe, comma, hyphen and full stop. */
const SYMBOL = /[ -&(-+/:-@[-`{-~]/g;
/** Comma and full stop stand alone unless a digit is on that side. */
const STOP_AFTER_NO_DIGIT = /([^0-9])([.,])/gu;
const STOP_BEFORE_NO_DIGIT = /([.,])([^0-9])/gu;
const HYPHEN_AFTER_DIGIT = /([0-9])-/g;

/** Tokens of a text: hyphenation at line ends undone, four SGML entities decoded, punctuation apart. */
export function tokenize13a(text: string): string[] {
  const line = trimEnd(text)
    .replaceAll("<skipped>", "")
    .replaceAll("-\n", "")
    .replaceAll("\n", " ")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">");
  const apart = ` ${line} `
    .replace(SYMBOL, " $& ")
    .replace(STOP_AFTER_NO_DIGIT, "$1 $2 ")
    .replace(STOP_BEFORE_NO_DIGIT, " $1 $2")
    .replace(HYPHEN_AFTER_DIGIT, "$1 - ");
  return words(apart);
}
