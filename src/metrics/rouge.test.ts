import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { rouge, rougeTokens } from "./rouge.js";
import { anyText, wordText } from "./testing/arbitrary.js";
import { fixture, largestDeviation } from "./testing/fixture.js";
import { words } from "./text.js";

const names = ["rouge1", "rouge2", "rougeL"] as const;
const parts = ["precision", "recall", "fmeasure"] as const;

describe("ROUGE", () => {
  it.each(names.flatMap((name) => parts.map((part) => [name, part] as const)))(
    "%s %s of every pair is torchmetrics'",
    (name, part) => {
      expect(
        largestDeviation(
          ({ hypothesis, reference }) => rouge(hypothesis, reference)[name][part],
          (pair) => pair[`${name}_${part}`],
        ),
      ).toBeLessThan(1e-6);
    },
  );

  it("compares lower-case runs of a to z and digits, without stemming", () => {
    expect(rougeTokens("The naïve Cats' 3.5%")).toEqual(["the", "na", "ve", "cats", "3", "5"]);
    expect(rouge("cats", "cat").rouge1.fmeasure).toBe(0);
    expect(fixture.pairs.some(({ hypothesis }) => /[A-Z]/.test(hypothesis))).toBe(true);
  });

  it("follows the example of Lin 2004", () => {
    // Reference "police killed the gunman": both candidates have ROUGE-2 alike, ROUGE-L tells them apart.
    expect(rouge("police kill the gunman", "police killed the gunman").rougeL.fmeasure).toBe(0.75);
    expect(rouge("the gunman kill police", "police killed the gunman").rougeL.fmeasure).toBe(0.5);
    expect(rouge("the gunman kill police", "police killed the gunman").rouge2.recall).toBeCloseTo(1 / 3, 12);
  });

  it("takes the best of several references for each score", () => {
    const scores = rouge("a b c", ["c b a", "a b x y z"]);
    expect(scores.rouge1).toEqual(rouge("a b c", "c b a").rouge1);
    expect(scores.rouge2).toEqual(rouge("a b c", "a b x y z").rouge2);
    // F decides: "a" has the larger recall, "a b x y" the larger F.
    expect(rouge("a b c", ["a", "a b x y"]).rouge1).toEqual(rouge("a b c", "a b x y").rouge1);
  });

  it("takes tokens of other scripts", () => {
    expect(rouge("日本語 テキスト", "日本語 テキスト です").rouge1.recall).toBe(0);
    expect(rouge("日本語 テキスト", "日本語 テキスト です", { tokenize: words }).rouge1.recall).toBeCloseTo(
      2 / 3,
      12,
    );
  });

  it("is 1 for equal texts, between 0 and 1 for any, 0 for an empty one, and P and R change places with the texts", () => {
    fc.assert(
      fc.property(anyText, anyText, wordText, (text, other, same) => {
        const scores = rouge(text, other);
        const turned = rouge(other, text);
        const equal = rouge(`${same} the cat`, `${same} the cat`);
        for (const name of names) {
          for (const part of parts) {
            expect(scores[name][part]).toBeGreaterThanOrEqual(0);
            expect(scores[name][part]).toBeLessThanOrEqual(1);
            expect(equal[name][part]).toBe(1);
            expect(rouge("", other)[name][part]).toBe(0);
          }
          expect(turned[name].precision).toBe(scores[name].recall);
        }
        expect(scores.rougeL.recall).toBeLessThanOrEqual(scores.rouge1.recall);
      }),
    );
  });
});
