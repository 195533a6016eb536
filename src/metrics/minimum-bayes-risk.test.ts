import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chrf } from "./chrf.js";
import { mbrSelect } from "./minimum-bayes-risk.js";
import { nltkSentenceBleu } from "./nltk-bleu.js";
import { anyText, longText } from "./testing/arbitrary.js";

describe("minimum Bayes risk", () => {
  it("takes the candidate that agrees most with the others", () => {
    const candidates = [
      "a dog ran off",
      "the cat sat on the mat",
      "the cat sat on a mat",
      "the cat sat on the rug",
    ];
    const { index, candidate, scores } = mbrSelect(candidates);
    expect(index).toBe(1);
    expect(candidate).toBe(candidates[1]);
    const others = [candidates[0], candidates[2], candidates[3]];
    const sum = others.reduce((total, other) => total + nltkSentenceBleu(candidates[1], other), 0);
    expect(scores[1]).toBeCloseTo(sum, 12);
    expect(mbrSelect(candidates, (text, other) => chrf(text, other)).index).toBe(1);
  });

  it("takes the first of equal ones, and the only one", () => {
    expect(mbrSelect(["x y z w", "a b c d"]).index).toBe(0);
    expect(mbrSelect(["", ""]).index).toBe(0);
    expect(mbrSelect(["alone"])).toEqual({ index: 0, candidate: "alone", scores: [0] });
  });

  it("hands the utility every other candidate once, the judged one first", () => {
    const calls: string[] = [];
    mbrSelect(["a", "b", "c"], (candidate, other) => calls.push(candidate + other));
    expect(calls).toEqual(["ab", "ac", "ba", "bc", "ca", "cb"]);
  });

  it("chooses a majority of copies, and never a worse score", () => {
    fc.assert(
      fc.property(fc.array(anyText, { minLength: 1, maxLength: 4 }), longText, (texts, long) => {
        const { index, scores } = mbrSelect(texts);
        expect(scores[index]).toBe(Math.max(...scores));
        const copies = texts.map(() => long);
        expect(mbrSelect([...texts.slice(1), ...copies, long]).candidate).toBe(long);
      }),
    );
  });

  it("refuses no candidates and utilities that are no numbers", () => {
    expect(() => mbrSelect([])).toThrow("expected at least one candidate, got none");
    expect(() => mbrSelect(["a", "b"], () => Number.NaN)).toThrow("got NaN for candidate 0");
  });
});
