/** @file Which way a window runs, decided from the sizes of its plan. */
import { describe, expect, it } from "vitest";
import { blockPlan, computedPairs, coversRow, makeBlockPlan } from "./pattern.js";

describe("block plan", () => {
  it("decides from the sizes of a plan, which are those of the plan that is built", () => {
    const cases = [false, true].flatMap((causal) =>
      [1, 3, 8, 18].flatMap((window) =>
        [1, 2, 5].flatMap((dilation) =>
          [7, 33, 64, 150].flatMap((length) =>
            [
              { globals: 0, near: 0 },
              { globals: 5, near: 5 },
              { globals: 40, near: 9 },
            ].map((slots) => ({ pattern: { window, dilation, full: false, causal }, length, ...slots })),
          ),
        ),
      ),
    );
    const decisions = cases.map(({ pattern, length, globals, near }) => {
      if (coversRow(pattern, length)) return { runs: false, asWanted: true };
      const plan = makeBlockPlan(pattern, length, globals, { near });
      const keys = plan.globalKeys + plan.localKeys;
      const pairs = plan.padded * keys + (plan.near ? plan.padded * plan.globalKeys : globals * length);
      const runs = pairs < length ** 2;
      const asWanted =
        plan.order.length === plan.padded &&
        plan.keyPosition.length === plan.blocks * plan.localKeys &&
        plan.keyChunks.length * plan.chunk === plan.blocks * keys &&
        (blockPlan(pattern, length, globals, near) !== null) === runs &&
        (near !== globals || computedPairs(pattern, length, globals) === (runs ? pairs : length ** 2));
      return { runs, asWanted };
    });
    expect(cases.filter((_, i) => !decisions[i].asWanted)).toEqual([]);
    const inBlocks = decisions.filter(({ runs }) => runs).length;
    expect(inBlocks).toBeGreaterThan(20);
    expect(cases.length - inBlocks).toBeGreaterThan(20);
  });

  it("refuses blocks far larger than the row without building them", () => {
    // The plan of the first would have more places than an array may; that of the second takes 5 GB.
    for (const dilation of [1e12, 1e7])
      expect(blockPlan({ window: 128, dilation, full: false }, 64, 0)).toBeNull();
    const wide = { window: 1e12, dilation: 2, full: false };
    expect(blockPlan(wide, 64, 0)).toBeNull();
    expect(computedPairs(wide, 64, 0)).toBe(64 ** 2);
  });
});
