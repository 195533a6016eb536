import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chrf, corpusChrf } from "./chrf.js";
import { anyText, wordText } from "./testing/arbitrary.js";
import { fixture, largestDeviation } from "./testing/fixture.js";

describe("chrF", () => {
  it("of every pair is sacrebleu's", () => {
    expect(
      largestDeviation(
        ({ hypothesis, reference }) => chrf(hypothesis, reference),
        (pair) => pair.sentence_chrf,
      ),
    ).toBeLessThan(1e-10);
  });

  it("of the corpus is sacrebleu's", () => {
    const score = corpusChrf(
      fixture.pairs.map(({ hypothesis }) => hypothesis),
      fixture.pairs.map(({ reference }) => reference),
    );
    expect(score).toBeCloseTo(fixture.corpus.chrf, 8);
  });

  it("weighs recall beta^2 times", () => {
    // "ab" of "abcd": P = 1 and 1, R = 2/4 and 1/3 for orders 1 and 2.
    const recall = (1 / 2 + 1 / 3) / 2;
    expect(chrf("ab", "abcd")).toBeCloseTo((100 * 5 * recall) / (4 + recall), 10);
    expect(chrf("ab", "abcd", { beta: 1 })).toBeCloseTo((100 * 2 * recall) / (1 + recall), 10);
    expect(chrf("ab", "abcd", { charOrder: 1 })).toBeCloseTo((100 * 5 * 0.5) / 4.5, 10);
  });

  it("of a corpus counts no n-grams of a hypothesis whose reference is too short for them", () => {
    // Single characters: 9 of 11 and 9 of 9. Longer ones: the second text alone, all of them right.
    const precision = (9 / 11 + 5) / 6;
    expect(corpusChrf(["axy", "abcdefgh"], ["a", "abcdefgh"])).toBeCloseTo(
      (100 * 5 * precision) / (4 * precision + 1),
      10,
    );
  });

  it("takes the best of several references, also into the corpus", () => {
    expect(chrf("cat", ["dog", "cats"])).toBe(chrf("cat", "cats"));
    expect(corpusChrf(["cat", "a b"], [["dog", "cats"], "a b"])).toBe(
      corpusChrf(["cat", "a b"], ["cats", "a b"]),
    );
  });

  it("is 100 for equal texts, between 0 and 100 for any, 0 for an empty one; white space does not count", () => {
    fc.assert(
      fc.property(anyText, anyText, wordText, (text, other, same) => {
        const score = chrf(text, other);
        expect(score).toBeGreaterThanOrEqual(0);
        expect(score).toBeLessThanOrEqual(100);
        expect(chrf("", other)).toBe(0);
        if (same !== "") expect(chrf(same, same.replaceAll(" ", "\n\n"))).toBeCloseTo(100, 8);
      }),
    );
    // One code point is one character.
    expect(chrf("😀", "😃")).toBe(0);
  });

  it("refuses an order that is none", () => {
    expect(() => chrf("a", "a", { charOrder: 0 })).toThrow(
      "expected charOrder to be a whole number from 1, got 0",
    );
  });
});
