/** @file Groups of rows: every slot is in its group's list, in order, and finds its result again, whatever the groups. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../evaluate.js";
import { constant, type Tensor } from "../tensor.js";
import { array, runOnnx, wave } from "../testing/check.js";
import { sizeOf } from "../types.js";
import { topologicalOrder } from "../walk.js";
import { greater } from "./elementwise.js";
import { gather } from "./indexing.js";
import { chunksWhere, fromGroups, groupRows, onesOfGroups, toGroups } from "./row-groups.js";

/** Of the oracle, which ONNX Runtime must agree with. */
async function values(outputs: Record<string, Tensor>): Promise<Record<string, number[]>> {
  const module = { name: "groups", outputs };
  const [slow, fast] = [evaluate(module, {}), await runOnnx(module, {})].map((found) =>
    Object.fromEntries(
      Object.entries(found).map(([name, { data }]) => [name, Array.from(data, Math.fround)]),
    ),
  );
  expect(fast).toEqual(slow);
  return slow;
}
const named = (name: string, tensors: readonly Tensor[]) =>
  Object.fromEntries(tensors.map((tensor, g) => [`${name}${g}`, tensor]));

/** Rows of so many choices among groups, some without one. */
const choices = (rows: number, columns: number, numGroups: number, seed: number) =>
  wave(rows * columns, seed).map((v) => Math.floor(((v + 1) / 2) * (numGroups + 1)));
const slotsOf = (groups: readonly number[], group: number) =>
  groups.flatMap((own, slot) => (own === group ? [slot] : []));

describe("groups of rows", () => {
  it.each<[string, number, number, number, number[]]>([
    ["spread over 5 groups", 13, 2, 5, choices(13, 2, 5, 1)],
    ["all in one of 4 groups", 9, 1, 4, Array(9).fill(2)],
    ["none in any", 6, 2, 3, Array(12).fill(3)],
    ["one group, one row", 1, 1, 1, [0]],
    ["an empty group between others", 5, 1, 3, [2, 0, 2, 0, 3]],
    ["three choices a row", 50, 3, 8, choices(50, 3, 8, 4)],
  ])("%s", async (_name, rows, columns, numGroups, groups) => {
    const grouped = groupRows(constant(groups, [rows, columns], "int64"), numGroups);
    const { order, counts, place } = grouped;
    const found = await values({ order, counts, place, ...named("rows", grouped.rows) });
    const slots = Array.from({ length: numGroups + 1 }, (_, g) => slotsOf(groups, g));
    expect(found.order).toEqual(slots.flat());
    expect(found.counts).toEqual(slots.map((own) => own.length));
    for (let g = 0; g < numGroups; g++)
      expect(found[`rows${g}`]).toEqual(slots[g].map((slot) => Math.floor(slot / columns)));
    const zeros = slots.slice(0, numGroups).flat().length;
    expect(found.place).toEqual(
      groups.map((g, slot) => (g === numGroups ? zeros : slots.flat().indexOf(slot))),
    );
  });

  it.each([2, 3, 7])("in %i pieces each, the larger ones first", async (pieces) => {
    const [rows, columns, numGroups] = [13, 2, 4];
    const groups = choices(rows, columns, numGroups, 6).map((g) => (g === 1 ? 2 : g)); // none in group 1
    const whole = groupRows(constant(groups, [rows, columns], "int64"), numGroups);
    const cut = groupRows(constant(groups, [rows, columns], "int64"), numGroups, pieces);
    const found = await values({
      whole: whole.place,
      place: cut.place,
      counts: cut.counts,
      ...named("rows", cut.rows),
    });
    expect(found.place).toEqual(found.whole);
    for (let g = 0; g < numGroups; g++) {
      const own = slotsOf(groups, g).map((slot) => Math.floor(slot / columns));
      const size = Math.ceil(own.length / pieces);
      for (let i = 0; i < pieces; i++) {
        const piece = own.slice(i * size, (i + 1) * size);
        expect(found[`rows${g * pieces + i}`]).toEqual(piece);
        expect(found.counts[g * pieces + i]).toBe(piece.length);
      }
    }
    expect(found.counts.at(-1)).toBe(slotsOf(groups, numGroups).length);
  });

  it.each([1, 3])(
    "take rows and values to their groups and bring them back, in pieces: %i",
    async (pieces) => {
      const [rows, columns, numGroups] = [11, 2, 4];
      const groups = choices(rows, columns, numGroups, 3);
      const [x, gates] = [wave(rows * 3), wave(rows * columns, 5)].map((list) => Float32Array.from(list));
      const grouped = groupRows(constant(groups, [rows, columns], "int64"), numGroups, pieces);
      const there = grouped.rows.map((own) => gather(constant(x, [rows, 3]), own));
      const found = await values({
        back: fromGroups(there, grouped),
        ...named("gates", toGroups(constant(gates, [rows, columns]), grouped)),
        ...named("ones", onesOfGroups(grouped)),
      });
      expect(found.back).toEqual(
        groups.flatMap((g, slot) => {
          const row = Math.floor(slot / columns);
          return g === numGroups ? [0, 0, 0] : [...x.subarray(3 * row, 3 * row + 3)];
        }),
      );
      const ofGroup = (name: string, g: number) =>
        Array.from({ length: pieces }, (_, i) => found[`${name}${g * pieces + i}`]).flat();
      for (let g = 0; g < numGroups; g++) {
        expect(ofGroup("gates", g)).toEqual(slotsOf(groups, g).map((slot) => gates[slot]));
        expect(ofGroup("ones", g)).toEqual(slotsOf(groups, g).map(() => 1));
      }
    },
  );

  it.each([
    ["some rows", 11],
    ["no rows", 4],
  ])("chunks of %s that are wanted", async (_name, rows) => {
    const flags = array([rows], rows === 4 ? [-1, -1, -1, -1] : wave(rows, 2)).data;
    const grouped = chunksWhere(greater(constant(flags, [rows]), 0), 3);
    const { order, counts, place } = grouped;
    const found = await values({ order, counts, place, ...named("rows", grouped.rows) });
    const wanted = [...flags.keys()].filter((row) => flags[row] > 0);
    expect(grouped.rows).toHaveLength(Math.ceil(rows / 3));
    for (const [chunk] of grouped.rows.entries())
      expect(found[`rows${chunk}`]).toEqual(wanted.slice(3 * chunk, 3 * chunk + 3));
    const others = [...flags.keys()].filter((row) => !wanted.includes(row));
    const sizes = grouped.rows.map((_, chunk) => wanted.slice(3 * chunk, 3 * chunk + 3).length);
    expect(found.counts).toEqual([...sizes, others.length]);
    expect(found.order).toEqual([...wanted, ...others]);
    expect(found.place).toEqual(
      [...flags.keys()].map((row) => (wanted.includes(row) ? wanted.indexOf(row) : wanted.length)),
    );
  });

  it("chunks take memory in proportion to the rows", () => {
    const rows = 40;
    const { order, counts, place } = chunksWhere(greater(constant(wave(rows), [rows]), 0), 3);
    const made = topologicalOrder([order, counts, place]).flatMap(({ outputs }) => outputs);
    expect(Math.max(...made.map((x) => sizeOf(x.staticShape)))).toBe(rows);
  });
});
