import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { pick, quantiles, rangeOf, smooth, spread, thin } from "./series.js";

const line = (values: readonly number[]) => values.map((y, x) => ({ x, y }));

describe("spread", () => {
  const places = fc.array(fc.double({ min: 0, max: 300, noNaN: true }), { minLength: 1, maxLength: 8 });

  it("keeps the gap, the order and the frame", () => {
    fc.assert(
      fc.property(places, (wanted) => {
        const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b] || a - b);
        const placed = spread(wanted, 16, [0, 300]);
        const inOrder = order.map((i) => placed[i]);
        for (let i = 1; i < inOrder.length; i++)
          expect(inOrder[i] - inOrder[i - 1]).toBeGreaterThanOrEqual(16 - 1e-6);
        expect(inOrder[0]).toBeGreaterThanOrEqual(-1e-6);
        expect(inOrder[inOrder.length - 1]).toBeLessThanOrEqual(300 + 1e-6);
      }),
    );
  });

  it("leaves alone what does not touch, and parts evenly what does", () => {
    expect(spread([10, 200, 100], 16, [0, 300])).toEqual([10, 200, 100]);
    expect(spread([100, 100], 16, [0, 300])).toEqual([92, 108]);
    expect(spread([298, 300], 16, [0, 300])).toEqual([284, 300]);
    expect(spread([], 16, [0, 300])).toEqual([]);
  });
});

describe("smooth", () => {
  it("is exact at the start and a mean further on", () => {
    const zigzag = line(Array.from({ length: 500 }, (_, i) => (i % 2 === 0 ? 1 : -1)));
    const mean = smooth(zigzag);
    expect(mean[0]).toEqual(zigzag[0]);
    expect(Math.max(...mean.slice(20).map((p) => Math.abs(p.y)))).toBeLessThan(0.1);
  });

  it("shows what is learned, not the noise levels that steps were drawn at", () => {
    // A sequence a step, its level of the golden ratio's sequence; a loss that rises steeply with the level and falls by a tenth in all.
    const losses = Array.from({ length: 300 }, (_, i) => 4.5 * ((i * 0.618034) % 1) ** 2 + 5 - i / 3000);
    const mean = smooth(line(losses)).slice(20, -20);
    const jumps = mean.slice(1).map((point, i) => Math.abs(point.y - mean[i].y));
    expect(Math.max(...jumps)).toBeLessThan(0.05);
    for (const { x, y } of mean) expect(Math.abs(y - (6.5 - x / 3000))).toBeLessThan(0.2);
  });

  it("leaves few points as they are", () => {
    expect(smooth(line([3, 1, 2]))).toEqual(line([3, 1, 2]));
  });
});

it("thins without losing the extremes or the order", () => {
  const noisy = line(Array.from({ length: 10_000 }, (_, i) => Math.sin(i * 1.7)));
  noisy[4321] = { x: 4321, y: 99 };
  noisy[77] = { x: 77, y: -99 };
  const few = thin(noisy, 100);
  expect(few.length).toBeLessThanOrEqual(100);
  expect(few).toContainEqual({ x: 4321, y: 99 });
  expect(few).toContainEqual({ x: 77, y: -99 });
  expect(few.map((p) => p.x)).toEqual([...few.map((p) => p.x)].sort((a, b) => a - b));
});

it("picks evenly, ends included", () => {
  expect(pick([1, 2, 3, 4, 5, 6, 7, 8, 9], 3)).toEqual([1, 5, 9]);
  expect(pick([1, 2], 3)).toEqual([1, 2]);
  expect(pick([1, 2, 3], 1)).toEqual([1]);
});

it("gives a range that is never empty", () => {
  expect(rangeOf([1, 3], 0.1, false)).toEqual([0.8, 3.2]);
  expect(rangeOf([5], 0.1, false)).toEqual([4.5, 5.5]);
  expect(rangeOf([0], 0.1, false)).toEqual([-1, 1]);
  const [low, high] = rangeOf([10], 0, true);
  expect(low).toBeCloseTo(3.162, 3);
  expect(high).toBeCloseTo(31.62, 2);
});

it("finds quantiles", () => {
  const values = Array.from({ length: 101 }, (_, i) => 100 - i);
  expect(quantiles(values, 0.02)).toEqual([2, 98]);
  expect(quantiles([], 0.02)).toEqual([]);
});
