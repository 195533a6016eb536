/** @file Blocks of rows: every slot has a place of its own in a block of its group, whatever the groups. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../evaluate.js";
import { constant, type Tensor } from "../tensor.js";
import { array, wave } from "../testing/check.js";
import { blockRows, blocksOfGroups, fromBlocks, toBlocks, valuesToBlocks } from "./row-blocks.js";

const values = (outputs: Record<string, Tensor>) =>
  Object.fromEntries(
    Object.entries(evaluate({ name: "blocks", outputs }, {})).map(([name, { data }]) => [name, [...data]]),
  );

/** Rows of so many choices among groups, some without one. */
const choices = (rows: number, columns: number, numGroups: number, seed: number) =>
  wave(rows * columns, seed).map((v) => Math.floor(((v + 1) / 2) * (numGroups + 1)));

describe("blocks of rows", () => {
  it.each([
    ["spread over 5 groups, blocks of 3", 13, 2, 5, 3, choices(13, 2, 5, 1)],
    ["all in one of 4 groups", 9, 1, 4, 4, Array(9).fill(2)],
    ["none in any", 6, 2, 3, 2, Array(12).fill(3)],
    ["one group, one row", 1, 1, 1, 8, [0]],
    ["as many blocks as are foreseen", 7, 1, 3, 3, [0, 1, 1, 1, 1, 2, 2]],
    ["blocks of the default size", 50, 3, 8, undefined, choices(50, 3, 8, 4)],
  ])("%s", (_name, rows, columns, numGroups, size, groups) => {
    const blocks = blockRows(constant(groups, [rows, columns], "int64"), numGroups, size);
    const { group, slot, place, of } = values({
      group: blocks.group,
      slot: blocks.slot,
      place: blocks.place,
      of: blocksOfGroups(blocks, numGroups),
    });
    const slots = rows * columns;
    expect(slot).toHaveLength(blocks.count * blocks.size);
    const last = new Map<number, number>();
    for (let s = 0; s < slots; s++) {
      if (groups[s] === numGroups) {
        expect(place[s]).toBe(blocks.count * blocks.size);
        continue;
      }
      expect(slot[place[s]]).toBe(s);
      expect(group[Math.floor(place[s] / blocks.size)]).toBe(groups[s]);
      // In order within the group, so that sums are added in the same order always.
      expect(place[s]).toBeGreaterThan(last.get(groups[s]) ?? -1);
      last.set(groups[s], place[s]);
    }
    expect(slot.filter((s) => s === slots)).toHaveLength(
      slot.length - groups.filter((g) => g < numGroups).length,
    );
    for (const [b, g] of group.entries())
      expect(Array.from({ length: numGroups }, (_, k) => of[k * blocks.count + b])).toEqual(
        Array.from({ length: numGroups }, (_, k) => Number(k === g)),
      );
  });

  it("bring rows and values to their places and back", () => {
    const [rows, columns, numGroups] = [11, 2, 4];
    const groups = choices(rows, columns, numGroups, 3);
    const x = array([rows, 3]);
    const gates = array([rows, columns], wave(rows * columns, 5));
    const blocks = blockRows(constant(groups, [rows, columns], "int64"), numGroups, 3);
    const there = toBlocks(constant(x.data, [rows, 3]), blocks);
    const { back, shares, slot } = values({
      back: fromBlocks(there, blocks),
      shares: valuesToBlocks(constant(gates.data, [rows, columns]), blocks),
      slot: blocks.slot,
    });
    for (let s = 0; s < rows * columns; s++)
      for (let d = 0; d < 3; d++) {
        const expected = groups[s] === numGroups ? 0 : x.data[Math.floor(s / columns) * 3 + d];
        expect(back[s * 3 + d]).toBeCloseTo(expected, 6);
      }
    for (const [p, s] of slot.entries())
      expect(shares[p]).toBeCloseTo(s === rows * columns ? 0 : gates.data[s], 6);
  });
});
