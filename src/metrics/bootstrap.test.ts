import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CounterRandom } from "../random/index.js";
import { bootstrapInterval, bootstrapRuns, pairedBootstrap, type Random } from "./bootstrap.js";

function seeded(seed: number): Random {
  const random = new CounterRandom(seed);
  let position = 0;
  return () => random.uniform(0, 0, 0, position++);
}

/** Near enough to normal, mean 0 and variance 1: the sum of twelve uniform numbers less six. */
const normal = (random: Random): number => Array.from({ length: 12 }, random).reduce((a, b) => a + b, -6);
const options = { resamples: 400 };

const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const variance = (values: readonly number[]): number =>
  average(values.map((value) => (value - average(values)) ** 2));

describe("bootstrap", () => {
  it("is as wide as the standard error says", () => {
    const random = seeded(1);
    const values = Array.from({ length: 400 }, () => 3 + 2 * normal(random));
    const { mean, low, high } = bootstrapInterval(values, random);
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    const error = Math.sqrt(variance / values.length);
    expect((mean - low) / error).toBeGreaterThan(1.8);
    expect((mean - low) / error).toBeLessThan(2.15);
    expect((high - mean) / error).toBeGreaterThan(1.8);
    expect((high - mean) / error).toBeLessThan(2.15);
  });

  it("covers the true mean about as often as it says", () => {
    let covered = 0;
    const random = seeded(2);
    for (let trial = 0; trial < 200; trial++) {
      const values = Array.from({ length: 50 }, () => normal(random));
      const { low, high } = bootstrapInterval(values, random, { level: 0.8, resamples: 300 });
      if (low <= 0 && high >= 0) covered++;
    }
    expect(covered / 200).toBeGreaterThan(0.72);
    expect(covered / 200).toBeLessThan(0.86);
  });

  it("repeats with the seed", () => {
    const values = [1, 5, 2, 8, 3];
    expect(bootstrapInterval(values, seeded(3), options)).toEqual(
      bootstrapInterval(values, seeded(3), options),
    );
    expect(bootstrapInterval(values, seeded(3), options)).not.toEqual(
      bootstrapInterval(values, seeded(4), options),
    );
  });

  it("knows of runs as well as of items", () => {
    const random = seeded(6);
    const items = Array.from({ length: 100 }, () => normal(random));
    const shifts = Array.from({ length: 20 }, () => 0.5 * normal(random));
    const runs = shifts.map((shift) => items.map((value) => value + shift));
    const { mean, low, high } = bootstrapRuns(runs, random);
    // Variances of the means over items, 1 / 100, and over runs, 0.25 / 20, add up.
    const error = Math.sqrt(variance(items) / 100 + variance(shifts) / 20);
    expect((high - low) / (2 * 1.96 * error)).toBeGreaterThan(0.9);
    expect((high - low) / (2 * 1.96 * error)).toBeLessThan(1.1);
    expect(mean).toBeCloseTo(average(items) + average(shifts), 10);
    expect(bootstrapRuns([items], seeded(7), options)).toEqual(bootstrapInterval(items, seeded(7), options));
    expect(() => bootstrapRuns([[1, 2], [1]], random)).toThrow(
      /a score of every item by every run, got 2 and 1/,
    );
    expect(() => bootstrapRuns([], random)).toThrow(/at least one value/);
  });

  it("sees a small difference where pairs move together, which separate intervals hide", () => {
    const random = seeded(5);
    const hard = Array.from({ length: 100 }, () => 10 * normal(random));
    const first = hard.map((value) => value + 0.5 + 0.5 * normal(random));
    const result = pairedBootstrap(first, hard, random);
    expect(result.low).toBeGreaterThan(0);
    expect(result.high).toBeLessThan(1);
    expect(result.firstBetter).toBe(1);
    const alone = [bootstrapInterval(first, random), bootstrapInterval(hard, random)];
    expect(alone[0].low).toBeLessThan(alone[1].high);
  });

  it("is undecided between equals, and turns its sign with the order", () => {
    expect(pairedBootstrap([1, 2], [1, 2], seeded(6))).toEqual({
      mean: 0,
      low: 0,
      high: 0,
      firstBetter: 0.5,
    });
    const there = pairedBootstrap([1, 4, 2], [2, 2, 2], seeded(7), options);
    const back = pairedBootstrap([2, 2, 2], [1, 4, 2], seeded(7), options);
    expect(back.mean).toBe(-there.mean);
    expect(back.low).toBeCloseTo(-there.high, 12);
    expect(back.firstBetter).toBeCloseTo(1 - there.firstBetter, 12);
  });

  it("lies within the values, and is wider at a higher level", () => {
    const value = fc.double({ min: -1e3, max: 1e3, noNaN: true });
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 20 }), fc.nat(), (values, seed) => {
        const wide = bootstrapInterval(values, seeded(seed), { resamples: 50 });
        const narrow = bootstrapInterval(values, seeded(seed), { resamples: 50, level: 0.5 });
        const slack = 1e-9;
        expect(wide.low).toBeGreaterThanOrEqual(Math.min(...values) - slack);
        expect(wide.high).toBeLessThanOrEqual(Math.max(...values) + slack);
        expect(wide.low).toBeLessThanOrEqual(narrow.low + slack);
        expect(wide.high).toBeGreaterThanOrEqual(narrow.high - slack);
      }),
    );
  });

  it("refuses what it cannot resample", () => {
    expect(() => bootstrapInterval([], Math.random)).toThrow("expected at least one value, got none");
    expect(() => bootstrapInterval([1, Number.NaN], Math.random)).toThrow("got NaN at place 1");
    expect(() => bootstrapInterval([1], Math.random, { level: 95 })).toThrow("such as 0.95, got 95");
    expect(() => bootstrapInterval([1], Math.random, { resamples: 0 })).toThrow("got 0");
    expect(() => bootstrapInterval([1], () => 1)).toThrow("expected random numbers from 0 to below 1, got 1");
    expect(() => pairedBootstrap([1, 2], [1], Math.random)).toThrow("got 2 and 1");
  });
});
