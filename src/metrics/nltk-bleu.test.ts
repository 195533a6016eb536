import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nltkSentenceBleu } from "./nltk-bleu.js";
import { anyText, longText } from "./testing/arbitrary.js";
import { largestDeviation } from "./testing/fixture.js";

describe("NLTK's sentence BLEU", () => {
  it("of every pair is NLTK's with smoothing method 4, over words", () => {
    expect(
      largestDeviation(
        ({ hypothesis, reference }) => nltkSentenceBleu(hypothesis, reference),
        (pair) => pair.nltk_sentence_bleu_method4,
      ),
    ).toBeLessThan(1e-12);
  });

  it("leaves punctuation at its word", () => {
    expect(nltkSentenceBleu("a b c d.", "a b c d .")).toBeLessThan(
      nltkSentenceBleu("a b c d .", "a b c d ."),
    );
  });

  it("smooths orders without a match by ln(h) / (5 * 2^k)", () => {
    const h = Math.log(4) / 5;
    const expected = ((2 / 4) * (h / 2 / 3) * (h / 4 / 2) * (h / 8 / 1)) ** 0.25;
    expect(nltkSentenceBleu("a x b y", "a p b q")).toBeCloseTo(expected, 12);
  });

  it("takes several references", () => {
    expect(nltkSentenceBleu("a b c d", ["a b x y", "z z c d"])).toBeCloseTo(
      ((4 / 4) * (2 / 3) * (Math.log(4) / 10 / 2) * (Math.log(4) / 20 / 1)) ** 0.25,
      12,
    );
  });

  it("is 1 for equal texts of four words, between 0 and 1 for any, 0 for an empty one", () => {
    fc.assert(
      fc.property(anyText, anyText, longText, (text, other, long) => {
        const score = nltkSentenceBleu(text, other);
        expect(score).toBeGreaterThanOrEqual(0);
        expect(score).toBeLessThanOrEqual(1);
        expect(nltkSentenceBleu(long, [other, long])).toBeCloseTo(1, 12);
        expect(nltkSentenceBleu("", other)).toBe(0);
      }),
    );
    expect(nltkSentenceBleu("a", "a")).toBe(1);
    expect(nltkSentenceBleu("a b", "a b")).toBeLessThan(1);
  });
});
