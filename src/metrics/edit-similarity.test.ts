import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { editSimilarity } from "./edit-similarity.js";
import { anyText } from "./testing/arbitrary.js";

/** The recurrence as it is written in books. */
function slowDistance(a: readonly unknown[], b: readonly unknown[]): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (const [i, symbol] of a.entries()) {
    const next = [i + 1];
    for (const [j, other] of b.entries())
      next.push(Math.min(next[j] + 1, row[j + 1] + 1, row[j] + (symbol === other ? 0 : 1)));
    row = next;
  }
  return row[b.length];
}

const similarity = (a: readonly unknown[], b: readonly unknown[]) => {
  const length = Math.max(a.length, b.length);
  return length === 0 ? 1 : 1 - slowDistance(a, b) / length;
};

describe("edit similarity", () => {
  it("counts characters, words or tokens", () => {
    expect(editSimilarity("kitten", "sitting")).toBeCloseTo(1 - 3 / 7, 12);
    expect(editSimilarity("the cat sat", "the dog sat", { unit: "word" })).toBeCloseTo(2 / 3, 12);
    expect(editSimilarity([1, 2, 3, 4], [1, 3, 4])).toBe(0.75);
    expect(editSimilarity([1], ["1"])).toBe(0);
    // Half of both surrogate pairs is the same.
    expect(editSimilarity("😀", "😃")).toBe(0);
    expect(editSimilarity("", "")).toBe(1);
    expect(editSimilarity("", "abc")).toBe(0);
  });

  it("agrees with the recurrence on any texts", () => {
    fc.assert(
      fc.property(anyText, anyText, (a, b) => {
        expect(editSimilarity(a, b)).toBeCloseTo(similarity(Array.from(a), Array.from(b)), 12);
        expect(editSimilarity(b, a)).toBe(editSimilarity(a, b));
        expect(editSimilarity(a, a)).toBe(1);
      }),
    );
  });

  it("agrees with the recurrence on long token lists, of few tokens and of many", () => {
    const tokens = fc
      .constantFrom(3, 500)
      .chain((size) =>
        fc.tuple(...[0, 1].map(() => fc.array(fc.nat(size), { maxLength: 150, size: "max" }))),
      );
    fc.assert(
      fc.property(tokens, ([a, b]) => {
        expect(editSimilarity(a, b)).toBeCloseTo(similarity(a, b), 12);
      }),
    );
  });

  it("takes more different tokens than there are code units, unless they are shared", () => {
    const many = Array.from({ length: 70_000 }, (_, i) => i);
    expect(editSimilarity(many.slice(0, 100), many)).toBeCloseTo(100 / 70_000, 12);
    expect(() => editSimilarity(many, many)).toThrow(
      "expected at most 65534 different tokens in common, got 70000",
    );
  });
});
