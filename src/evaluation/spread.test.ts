/** @file Some of many are from all over them. */
import { describe, expect, it } from "vitest";
import { inSpreadOrder, takeEvenly, takeInTurns } from "./spread.js";

async function* upTo(count: number) {
  for (let i = 0; i < count; i++) yield i;
}

describe("some of many", () => {
  it("are from all over a list, however few", () => {
    for (const size of [0, 1, 2, 7, 64, 100]) {
      const order = inSpreadOrder(Array.from({ length: size }, (_, i) => i));
      expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, i) => i));
    }
    const list = Array.from({ length: 64 }, (_, i) => i);
    expect(inSpreadOrder(list).slice(0, 7)).toEqual([32, 16, 48, 8, 40, 24, 56]);
    // In any four that follow each other from the start, one of each quarter but for the first step.
    expect(
      new Set(
        inSpreadOrder(list)
          .slice(3, 7)
          .map((i) => i >> 4),
      ),
    ).toEqual(new Set([0, 1, 2, 3]));
  });

  it("are one of each list, then another of each", () => {
    const lists = [["a", "b", "c"], [], ["d"], ["e", "f"]];
    expect(takeInTurns(lists, 5)).toEqual(["a", "d", "e", "b", "f"]);
    expect(takeInTurns(lists, 100)).toEqual(["a", "d", "e", "b", "f", "c"]);
    expect(takeInTurns(lists, 0)).toEqual([]);
  });

  it("are at nearly even distances in a stream of unknown length", async () => {
    for (const size of [0, 1, 4, 5]) expect(await takeEvenly(upTo(size), 5)).toEqual([...Array(size).keys()]);
    for (const [size, count] of [
      [6, 5],
      [11, 5],
      [100, 7],
      [1000, 50],
      [1234, 1],
    ]) {
      const taken = await takeEvenly(upTo(size), count);
      expect(taken).toHaveLength(count);
      const edges = [...taken, size];
      const distances = taken.map((one, i) => edges[i + 1] - one);
      expect(taken[0]).toBe(0);
      // Those that are kept are one in 2, 4, 8 ...; of these up to two in a row are left out.
      for (const distance of distances) {
        expect(distance).toBeGreaterThan(0);
        expect(distance).toBeLessThanOrEqual((4 * size) / count);
      }
    }
  });
});
