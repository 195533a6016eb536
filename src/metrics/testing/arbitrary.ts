/** @file Texts for property tests: words that meet often, and arbitrary Unicode. */
import fc from "fast-check";

const word = fc.constantFrom("the", "a", "cat", "Cat", "3.14", "naïve", "日本", "😀", "don't", "end.");

/** Words that are likely to be shared. */
export const wordText = fc.array(word, { maxLength: 12 }).map((parts) => parts.join(" "));

/** Any text: words, or arbitrary code points, lone surrogates included. */
export const anyText = fc.oneof(wordText, fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" }));

/** Texts with at least four words, so that every order of n-grams occurs. */
export const longText = fc.array(word, { minLength: 4, maxLength: 12 }).map((parts) => parts.join(" "));
