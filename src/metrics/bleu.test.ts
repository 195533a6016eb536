import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { bleuReport, corpusBleu, sentenceBleu } from "./bleu.js";
import { anyText, longText } from "./testing/arbitrary.js";
import { fixture, largestDeviation } from "./testing/fixture.js";

const hypotheses = fixture.pairs.map(({ hypothesis }) => hypothesis);
const references = fixture.pairs.map(({ reference }) => reference);

describe("BLEU", () => {
  it("of every pair is sacrebleu's", () => {
    expect(
      largestDeviation(
        ({ hypothesis, reference }) => sentenceBleu(hypothesis, reference),
        (pair) => pair.sacrebleu_sentence_bleu,
      ),
    ).toBeLessThan(1e-10);
  });

  it("of the corpus is sacrebleu's, with all its parts", () => {
    const report = bleuReport(hypotheses, references);
    expect(report.bleu).toBeCloseTo(fixture.corpus.bleu, 8);
    expect(corpusBleu(hypotheses, references)).toBe(report.bleu);
    for (const [i, precision] of report.precisions.entries())
      expect(precision).toBeCloseTo(fixture.corpus.precisions[i], 8);
    expect(report.brevityPenalty).toBeCloseTo(fixture.corpus.brevity_penalty, 10);
    expect(report.hypothesisLength).toBe(fixture.corpus.sys_len);
    expect(report.referenceLength).toBe(fixture.corpus.ref_len);
  });

  it("clips matches at the reference that has an n-gram most often, and takes the nearest length", () => {
    // The example of Papineni et al. 2002: "the" counts twice, as in the first reference.
    const report = bleuReport(
      ["the the the the the the the"],
      [["The cat is on the mat the end", "There is a cat on the mat"]],
    );
    expect(report.precisions[0]).toBeCloseTo((100 * 2) / 7, 10);
    expect(report.referenceLength).toBe(7);
    // Empty references are a filling where there are others, as in sacrebleu.
    expect(bleuReport(["a b"], [["", "a b c d e"]])).toEqual(bleuReport(["a b"], [["a b c d e"]]));
    expect(sentenceBleu("a b", ["", "a b c"])).toBe(sentenceBleu("a b", ["a b c"]));
    // Two references at equal distance: the shorter counts.
    expect(bleuReport(["a b c"], [["a b", "a b c d"]]).referenceLength).toBe(2);
  });

  it("sums over the corpus before it divides", () => {
    // 4 of 5 words match in the first text, 0 of 1 in the second.
    const report = bleuReport(["a b c d e", "x"], ["a b c d f", "y"]);
    expect(report.precisions).toEqual([(100 * 4) / 6, (100 * 3) / 4, (100 * 2) / 3, (100 * 1) / 2]);
    expect(report.bleu).toBeCloseTo(100 * ((4 / 6) * (3 / 4) * (2 / 3) * (1 / 2)) ** 0.25, 10);
  });

  it("of a corpus in which an order does not occur is 0; of a sentence it leaves the order out", () => {
    expect(corpusBleu(["a b c"], ["a b c"])).toBe(0);
    expect(sentenceBleu("a b c", "a b c")).toBeCloseTo(100, 10);
  });

  it("takes another tokenizer", () => {
    const tokenize = (text: string) => Array.from(text);
    expect(sentenceBleu("日本語です", "日本語です", { tokenize })).toBeCloseTo(100, 10);
    expect(sentenceBleu("日本語です", "日本語でも", { tokenize })).toBeGreaterThan(
      sentenceBleu("日本語です", "日本語でも"),
    );
  });

  it("is 100 for equal texts, between 0 and 100 for any, 0 for an empty one", () => {
    fc.assert(
      fc.property(
        anyText,
        fc.array(anyText, { minLength: 1, maxLength: 3 }),
        longText,
        (text, others, long) => {
          const score = sentenceBleu(text, others);
          expect(score).toBeGreaterThanOrEqual(0);
          expect(score).toBeLessThanOrEqual(100);
          expect(sentenceBleu(long, [...others, long])).toBeCloseTo(100, 8);
          expect(corpusBleu([long, long], [long, [...others, long]])).toBeCloseTo(100, 8);
          expect(sentenceBleu("", others)).toBe(0);
        },
      ),
    );
  });

  it("refuses what cannot be scored", () => {
    expect(() => corpusBleu(["a", "b"], ["a"])).toThrow(UserError);
    expect(() => corpusBleu(["a", "b"], ["a"])).toThrow(
      "expected references for each of 2 hypotheses, got 1",
    );
    expect(() => corpusBleu([], [])).toThrow("expected at least one hypothesis, got none");
    expect(() => sentenceBleu("a", [])).toThrow("expected at least one reference, got none");
  });
});
