import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { wordsOf as bounded, forEachWord, piecesOf, WORDS } from "./byte-level.js";

const wordsOf = (text: string): string[] => text.match(WORDS) ?? [];

describe("pieces of a text", () => {
  it("have the words of the whole text, wherever they are cut", () => {
    const unit = fc.constantFrom(
      ..." \n\t\u0085\u00a0\u3000\ufeff'.,;，。-",
      ..."asdltrvemé1٣²зΩ字カ\u0301\u200d",
      ...["'s", "'ll", "  ", "🙂", "𝒜", "𝟗", "𠮷", "\ud835", "\udc9c"],
    );
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 40 }), fc.integer({ min: 1, max: 6 }), (units, size) => {
        const text = units.join("");
        const pieces = [...piecesOf(text, size)];
        expect(pieces.join("")).toBe(text);
        expect(pieces.flatMap(wordsOf)).toEqual(wordsOf(text));
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    ["Latin", "the people of"],
    ["Cyrillic", "народ и его"],
    ["Greek", "ο λαός και"],
    ["Chinese", "人民，以及他们的政府。"],
    ["Japanese", "人々の、そして政府。"],
  ])("are short in %s", (_, phrase) => {
    const lengths = [...piecesOf(phrase.repeat(200), 50)].map((piece) => piece.length);
    expect(Math.max(...lengths)).toBeLessThan(70);
    expect(lengths.length).toBeGreaterThan(20);
  });

  it("come to the words of a long text", () => {
    const text = "Слово за слово, and 12 more.\n".repeat(6000);
    const words: string[] = [];
    forEachWord(text, (word) => words.push(word));
    expect(words).toEqual(wordsOf(text));
  });
});

it("holds for white space what Unicode does: U+0085 is, U+FEFF is not", () => {
  expect(wordsOf("a\u0085\u0085b\u0085 c")).toEqual(["a", "\u0085", "\u0085", "b", "\u0085", " c"]);
  expect(wordsOf("a\ufeff\ufeffb \ufeff.\u200b c")).toEqual([
    "a",
    "\ufeff\ufeff",
    "b",
    " \ufeff.\u200b",
    " c",
  ]);
});

it("finds the same words without one expression for a whole word", () => {
  const unit = fc.constantFrom(
    ..."aé1- \n\t'",
    "'s",
    "'ll",
    "🙂",
    "𝒜",
    "\ud800",
    "  ",
    ..."\u0085\u2028\ufeff",
  );
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 60 }), (units) => {
      const text = units.join("");
      expect([...bounded(text, 0)]).toEqual(wordsOf(text));
    }),
    { numRuns: 2000 },
  );
  for (const character of ["a", "7", "-", " ", "🙂"]) {
    const text = `x${character.repeat(10_000)}y 'tis`;
    expect([...bounded(text, 0)]).toEqual(wordsOf(text));
  }
});

it("finds a word of more characters than the stack of one expression holds", () => {
  const word = "🙂".repeat(4_500_000);
  const lengths: number[] = [];
  forEachWord(`a${word} b`, (found) => lengths.push(found.length));
  expect(lengths).toEqual([1, word.length, 2]);
});
