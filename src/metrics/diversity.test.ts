import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dist1, distinctN, div4, selfBleu } from "./diversity.js";
import { nltkSentenceBleu } from "./nltk-bleu.js";
import { repetition, windowRepetition } from "./repetition.js";
import { anyText, longText } from "./testing/arbitrary.js";

describe("diversity", () => {
  it("distinct-n counts n-grams of all texts together, none across two texts", () => {
    expect(distinctN(["a b a", "a b c"], 1)).toBe(3 / 6);
    expect(distinctN(["a b a", "a b c"], 2)).toBe(3 / 4);
    expect(
      distinctN(
        [
          [1, 2],
          [2, 1],
        ],
        2,
      ),
    ).toBe(1);
    expect(distinctN([], 1)).toBe(0);
    expect(distinctN(["a b"], 3)).toBe(0);
  });

  it("tells n-grams apart whatever the tokens contain", () => {
    expect(
      distinctN(
        [
          ["a,b", "c"],
          ["a", "b,c"],
        ],
        2,
      ),
    ).toBe(1);
    expect(distinctN([[1, "1"]], 1)).toBe(1);
  });

  it("dist-1 is a mean over texts, div-4 a share over candidates", () => {
    expect(dist1(["a a", "a b"])).toBe(0.75);
    expect(dist1(["", "a b"])).toBe(0.5);
    expect(div4(["a b c d e", "a b c d x"])).toBe(3 / 4);
  });

  it("self-BLEU is a mean over pairs, or of each against the rest", () => {
    const [a, b, c] = ["the cat sat on the mat", "the cat sat on a mat", "a dog lay on the mat"];
    const pairs = [nltkSentenceBleu(a, b), nltkSentenceBleu(a, c), nltkSentenceBleu(b, c)];
    expect(selfBleu([a, b, c])).toBeCloseTo((pairs[0] + pairs[1] + pairs[2]) / 3, 12);
    const rest = [nltkSentenceBleu(a, [b, c]), nltkSentenceBleu(b, [a, c]), nltkSentenceBleu(c, [a, b])];
    expect(selfBleu([a, b, c], { against: "rest" })).toBeCloseTo((rest[0] + rest[1] + rest[2]) / 3, 12);
    expect(selfBleu([a])).toBe(0);
  });

  it("repetition is the share of n-grams that occurred before", () => {
    expect(repetition("a b a b a b", 2)).toBeCloseTo(3 / 5, 12);
    expect(repetition("a b c d")).toBe(0);
    expect(repetition("a b c")).toBe(0);
    expect(repetition([7, 7, 7, 7, 7])).toBe(0.5);
  });

  it("window repetition looks back so many tokens", () => {
    expect(windowRepetition("a b c a")).toBe(0.25);
    expect(windowRepetition("a b c a", 3)).toBe(0.25);
    expect(windowRepetition("a b c a", 2)).toBe(0);
    expect(windowRepetition("")).toBe(0);
  });

  it("agrees with counting by hand on any text", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(4), { maxLength: 40 }), fc.integer({ min: 1, max: 5 }), (tokens, n) => {
        const grams = tokens
          .slice(0, Math.max(0, tokens.length - n + 1))
          .map((_, i) => tokens.slice(i, i + n));
        const same = (a: readonly number[], b: readonly number[]) => a.every((token, i) => token === b[i]);
        const before = grams.filter((gram, i) => grams.slice(0, i).some((other) => same(gram, other))).length;
        expect(repetition(tokens, n)).toBeCloseTo(grams.length === 0 ? 0 : before / grams.length, 12);
        const near = tokens.filter((token, i) => tokens.slice(Math.max(0, i - n), i).includes(token)).length;
        expect(windowRepetition(tokens, n)).toBeCloseTo(tokens.length === 0 ? 0 : near / tokens.length, 12);
      }),
    );
  });

  it("stays between 0 and 1, and knows copies", () => {
    fc.assert(
      fc.property(fc.array(anyText, { maxLength: 4 }), longText, (texts, long) => {
        for (const score of [
          dist1(texts),
          div4(texts),
          selfBleu(texts),
          selfBleu(texts, { against: "rest" }),
          ...texts.map((text) => repetition(text)),
        ]) {
          expect(score).toBeGreaterThanOrEqual(0);
          expect(score).toBeLessThanOrEqual(1);
        }
        expect(selfBleu([long, long, long])).toBeCloseTo(1, 12);
        expect(div4([long, long])).toBeLessThanOrEqual(0.5);
      }),
    );
  });

  it("refuses an n that is none", () => {
    expect(() => distinctN(["a"], 0)).toThrow("expected n to be a whole number from 1, got 0");
    expect(() => repetition("a", 1.5)).toThrow("expected n to be a whole number from 1, got 1.5");
    expect(() => windowRepetition("a", -1)).toThrow("expected window to be a whole number from 1, got -1");
  });
});
