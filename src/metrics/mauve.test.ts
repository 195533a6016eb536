/** @file The divergence frontier against what can be integrated by hand, and clusters that are plain to see. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../evaluation/statistics.js";
import { frontierArea, mauve } from "./mauve.js";

describe("frontierArea", () => {
  it("is 1 where both are equal, whatever they count in", () => {
    expect(frontierArea([0.2, 0.8], [0.2, 0.8])).toBeCloseTo(1, 12);
    expect(frontierArea([1, 0, 4], [10, 0, 40])).toBeCloseTo(1, 12);
  });

  it("is c B(c + 1, c) where they have nothing in common", () => {
    // Curve: ((1 - w)^c, w^c); for c = 5 the area is 5 * 5! 4! / 10!, for c = 2 it is 2 * 2! 1! / 4!.
    expect(frontierArea([1, 0], [0, 1], { points: 5000 })).toBeCloseTo((5 * 120 * 24) / 3628800, 6);
    expect(frontierArea([3, 0, 2], [0, 7, 0], { scaling: 2, points: 5000 })).toBeCloseTo(1 / 6, 6);
    expect(frontierArea([1, 0], [0, 1])).toBeCloseTo(0.004, 3);
  });

  it("agrees with a slow sum of the curve's height over its width", () => {
    const [p, q, c] = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], 5];
    const kl = (a: number[], w: number) =>
      a.reduce((sum, value, i) => sum + value * Math.log(value / (w * p[i] + (1 - w) * q[i])), 0);
    // The least of P's divergences that a divergence of Q leaves room for, one x after another.
    let area = 0;
    const steps = 4000;
    for (let i = 0; i < steps; i++) {
      const x = (i + 0.5) / steps;
      let [low, high] = [0, 1];
      for (let k = 0; k < 50; k++) {
        const w = (low + high) / 2;
        if (Math.exp(-c * kl(q, w)) > x) low = w;
        else high = w;
      }
      area += Math.exp(-c * kl(p, low)) / steps;
    }
    expect(frontierArea(p, q, { points: 5000 })).toBeCloseTo(area, 4);
    // The authors' 25 points come near it.
    expect(Math.abs(frontierArea(p, q) - area)).toBeLessThan(0.005);
  });

  it("is the same from either side, and falls as they part", () => {
    const p = [0.5, 0.3, 0.2];
    const scores = [0, 0.1, 0.2, 0.4].map((shift) => frontierArea(p, [0.5 - shift, 0.3, 0.2 + shift]));
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
    expect(frontierArea(p, [0.1, 0.3, 0.6])).toBeCloseTo(frontierArea([0.1, 0.3, 0.6], p), 12);
  });

  it("refuses what is no distribution", () => {
    expect(() => frontierArea([1], [1, 2])).toThrow("as many outcomes");
    for (const wrong of [
      [0, 0],
      [-1, 2],
      [Number.NaN, 1],
    ])
      expect(() => frontierArea(wrong, [1, 1])).toThrow("numbers from 0");
    expect(() => frontierArea([1], [1], { scaling: 0 })).toThrow("above 0");
    expect(() => frontierArea([1], [1], { points: 0 })).toThrow("whole number");
  });
});

describe("mauve", () => {
  /** Vectors around the corners of a square: so many of each. */
  const around = (counts: readonly number[], seed: number): number[][] => {
    const random = seededRandom(seed);
    const corners = [
      [0, 0],
      [10, 0],
      [0, 10],
      [10, 10],
    ];
    return counts.flatMap((count, i) =>
      Array.from({ length: count }, () => corners[i].map((value) => value + random())),
    );
  };

  it("is the area of how often each cluster occurs, where clusters are plain to see", () => {
    const [own, other] = [
      [12, 3, 5, 0],
      [4, 4, 4, 8],
    ];
    for (const seed of [1, 2, 3])
      expect(mauve(around(own, 7), around(other, 8), seededRandom(seed), { clusters: 4 })).toBeCloseTo(
        frontierArea(own, other),
        12,
      );
  });

  it("repeats with its random numbers, and needs no more clusters than there are vectors", () => {
    const [a, b] = [around([5, 6, 7, 8], 3), around([8, 7, 6, 5], 4)];
    expect(mauve(a, b, seededRandom(5))).toBe(mauve(a, b, seededRandom(5)));
    expect(mauve([[1, 2]], [[1, 2]], seededRandom(1), { clusters: 3 })).toBeCloseTo(1, 12);
    expect(mauve([[1, 2]], [[3, 4]], seededRandom(1))).toBeCloseTo(0.004, 3);
  });

  it("refuses sets that are empty, and vectors that do not fit", () => {
    const random = seededRandom(1);
    expect(() => mauve([], [[1]], random)).toThrow("at least one text");
    expect(() => mauve([[1, 2]], [[1]], random)).toThrow("vector 1 is none");
    expect(() => mauve([[Number.NaN]], [[1]], random)).toThrow("vector 0 is none");
    expect(() => mauve([[1]], [[1]], random, { clusters: 0 })).toThrow("whole number");
  });
});
