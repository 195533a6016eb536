/** @file What experts are used for, level by level. */
import { expect, it } from "vitest";
import { ExpertUseCounter } from "./expert-use.js";

it("counts an expert as dead where no level has work for it, however little the levels give it together", () => {
  const [times, layers, experts] = [[0.1, 0.5, 0.9], 1, 3];
  // A level after the other: rows, entropy, tokens of each expert. The second works at one level, the third at none.
  const sums = [
    [1, 0.5, 95, 5, 0],
    [1, 0.5, 1000, 0, 0],
    [1, 0.5, 1000, 1, 2],
  ].flat();
  const use = ExpertUseCounter.ofSums(sums, times, layers, experts).result()!;
  expect(use.load[0][1]).toBeLessThan(0.01);
  expect(use.layers[0].map(({ dead }) => dead)).toEqual([1 / 3, 2 / 3, 2 / 3]);
  expect(use.dead).toBeCloseTo(1 / 3, 12);
});
