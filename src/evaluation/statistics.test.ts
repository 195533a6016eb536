import { describe, expect, it } from "vitest";
import { CounterRandom, Stream } from "../random/index.js";
import { RatioEstimate } from "./statistics.js";

describe("RatioEstimate", () => {
  it("is the mean and its error when all documents have one size", () => {
    const values = [2, 4, 4, 6];
    const ratio = new RatioEstimate();
    for (const value of values) ratio.add(ratio.size, 10 * value, 10);
    const { mean, standardError } = ratio.estimate()!;
    expect(mean).toBe(4);
    expect(standardError).toBeCloseTo(Math.sqrt(8 / 3 / 4), 12);
    expect(ratio.size).toBe(40);
  });

  it("weighs documents by size, and knows what it cannot tell", () => {
    const ratio = new RatioEstimate();
    expect(ratio.estimate()).toBeNull();
    ratio.add(0, 6, 3);
    expect(ratio.estimate()).toEqual({ mean: 2, standardError: null });
    ratio.add(1, 5, 0);
    ratio.add(2, 0, 1);
    expect(ratio.estimate()!.mean).toBe(2.75);
    const nothing = new RatioEstimate();
    nothing.add(0, 5, 0);
    expect(nothing.estimate()).toBeNull();
  });

  it("counts the parts of one document as one", () => {
    const [parts, documents] = [new RatioEstimate(), new RatioEstimate()];
    for (const [document, y, x] of [
      [7, 1, 2],
      [3, 5, 2],
      [7, 2, 3],
      [3, 0, 0],
    ])
      parts.add(document, y, x);
    documents.add(0, 3, 5);
    documents.add(1, 5, 2);
    expect(parts.estimate()).toEqual(documents.estimate());
    expect(parts.size).toBe(7);
    const one = new RatioEstimate();
    for (const y of [1, 2, 3]) one.add(4, y, 1);
    expect(one.estimate()).toEqual({ mean: 2, standardError: null });
  });

  it("has an error that repetition confirms", () => {
    const random = new CounterRandom(4);
    const noise = new Float32Array(40);
    const means: number[] = [];
    let claimed = 0;
    const rounds = 400;
    for (let round = 0; round < rounds; round++) {
      random.fillNormal(noise, Stream.Bootstrap, round, 0);
      const ratio = new RatioEstimate();
      for (const [i, value] of noise.entries()) {
        const size = 50 + 10 * (i % 5);
        ratio.add(i, size * (3 + value), size);
      }
      const { mean, standardError } = ratio.estimate()!;
      means.push(mean);
      claimed += standardError! / rounds;
    }
    const average = means.reduce((a, b) => a + b, 0) / rounds;
    const spread = Math.sqrt(means.reduce((sum, m) => sum + (m - average) ** 2, 0) / rounds);
    expect(average).toBeCloseTo(3, 1);
    expect(claimed / spread).toBeGreaterThan(0.9);
    expect(claimed / spread).toBeLessThan(1.1);
  });
});
