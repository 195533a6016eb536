import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exactMatch, exactTokens, normaliseSquad, tokenF1 } from "./exact.js";
import { anyText } from "./testing/arbitrary.js";

const squad = { normalise: normaliseSquad };

describe("exact scores", () => {
  it("normalise as SQuAD does", () => {
    expect(normaliseSquad("  The U.S.A.,\n an  Apple's (a) theme ")).toBe("usa apples theme");
    expect(normaliseSquad("théa the-a")).toBe("théa thea");
  });

  it("match verbatim, or normalised, any of the references", () => {
    expect(exactMatch("The cat.", "cat")).toBe(0);
    expect(exactMatch("The cat.", ["dog", "cat"], squad)).toBe(1);
    expect(exactMatch("", "")).toBe(1);
  });

  it("F1 counts common words as often as both have them", () => {
    // 2 common of 3 and 4: P = 2/3, R = 1/2.
    expect(tokenF1("x x y", "x x z w")).toBeCloseTo(4 / 7, 12);
    expect(tokenF1("The cat sat!", ["no", "a cat"], squad)).toBeCloseTo(2 / 3, 12);
    expect(tokenF1("", "")).toBe(1);
    expect(tokenF1("", "a")).toBe(0);
    expect(tokenF1("the", "", squad)).toBe(1);
  });

  it("tokens count in their places, of the longer text", () => {
    expect(exactTokens("a b c", "a x c d")).toBe(0.5);
    expect(exactTokens([1, 2], [1, 2])).toBe(1);
    expect(exactTokens([1], ["1"])).toBe(0);
    expect(exactTokens("", "")).toBe(1);
  });

  it("are 1 for equal texts and between 0 and 1 for any; a match implies F1 = 1", () => {
    fc.assert(
      fc.property(anyText, anyText, (text, other) => {
        expect(exactMatch(text, text)).toBe(1);
        expect(tokenF1(text, text)).toBe(1);
        expect(exactTokens(text, text)).toBe(1);
        for (const score of [tokenF1(text, other), exactTokens(text, other)]) {
          expect(score).toBeGreaterThanOrEqual(0);
          expect(score).toBeLessThanOrEqual(1);
        }
        expect(tokenF1(text, other)).toBeCloseTo(tokenF1(other, text), 12);
        if (exactMatch(text, other, squad) === 1) expect(tokenF1(text, other, squad)).toBe(1);
      }),
    );
  });

  it("refuse an empty list of references", () => {
    expect(() => exactMatch("a", [])).toThrow("expected at least one reference");
    expect(() => tokenF1("a", [])).toThrow("expected at least one reference");
  });
});
