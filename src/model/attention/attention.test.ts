/** @file Window, dilated and full attention against the dense oracle; gradients; window >= length equals full attention. */
import { describe, expect, it } from "vitest";
import { constant, evaluate, input, parameter, type Tensor, type TensorData } from "../../graph/index.js";
import { array, checkOperator, distance, runOnnx, wave } from "../../graph/testing/check.js";
import type { Layout } from "./masks.js";
import { attention, MaskCache } from "./operator.js";
import {
  blockPlan,
  computedPairs,
  coversRow,
  denseMask,
  type HeadPattern,
  headGroups,
  layerPattern,
  makeBlockPlan,
  sees,
} from "./pattern.js";

interface Row {
  segment: number[];
  globals: number[];
}
/** Constants for a layout; M is the largest count of globals in a row plus `spare` empty slots. */
function layoutOf(rows: Row[], spare = 0): Layout {
  const length = rows[0].segment.length;
  const count = Math.max(...rows.map((r) => r.globals.length)) + spare;
  const segment = constant(
    rows.flatMap((r) => r.segment),
    [rows.length, length],
    "int64",
  );
  if (count === 0) return { batch: rows.length, length, segment, globals: null };
  const index = rows.flatMap((r, b) =>
    Array.from({ length: count }, (_, m) => b * length + (r.globals[m] ?? 0)),
  );
  const valid = rows.flatMap((r) => Array.from({ length: count }, (_, m) => Number(m < r.globals.length)));
  const slot = rows.flatMap((r, b) =>
    r.segment.map((_, p) => 1 + (r.globals.includes(p) ? b * count + r.globals.indexOf(p) : -1)),
  );
  return {
    batch: rows.length,
    length,
    segment,
    globals: {
      count,
      index: constant(index, [index.length], "int64"),
      valid: constant(valid, [rows.length, count]),
      slot: constant(slot, [slot.length], "int64"),
    },
  };
}
const packed = (parts: number[], padding: number): number[] => [
  ...parts.flatMap((n, s) => new Array<number>(n).fill(s)),
  ...new Array<number>(padding).fill(-1),
];

describe("attention pattern", () => {
  it("sees the window, residues, globals and nothing of other documents", () => {
    const row = { segment: packed([6, 3], 1), isGlobal: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0] };
    const head = { window: 1, dilation: 2, full: false };
    expect([0, 1, 2, 3, 4, 5, 6].map((j) => sees(head, row, 3, j))).toEqual([
      true,
      true,
      false,
      true,
      false,
      true,
      false,
    ]);
    expect(sees(head, row, 0, 5)).toBe(true);
    expect(sees(head, row, 0, 6)).toBe(false);
    const mask = denseMask(head, row);
    for (let i = 0; i < 10; i++) for (let j = 0; j < 10; j++) expect(mask[i * 10 + j]).toBe(mask[j * 10 + i]);
  });
  it("sees nothing behind itself when causal, globals included", () => {
    const row = { segment: packed([6, 3], 1), isGlobal: [1, 0, 0, 0, 1, 0, 0, 0, 0, 0] };
    const head = { window: 1, dilation: 1, full: false, causal: true };
    const seen = (i: number) => row.segment.flatMap((_, j) => (sees(head, row, i, j) ? [j] : []));
    expect([0, 1, 3, 4, 5, 6, 7].map(seen)).toEqual([
      [0],
      [0, 1],
      [0, 2, 3],
      [0, 1, 2, 3, 4],
      [0, 4, 5],
      [6],
      [6, 7],
    ]);
    expect(layerPattern({ window: 1, dilation: 1, full: true, causal: true }, 0, 2).heads[1].causal).toBe(
      true,
    );
  });
  it("groups neighbouring heads and lays layer settings over common ones", () => {
    const layer = layerPattern(
      { window: 4, dilation: [1, 1, 2], full: false, layers: { 3: { window: 8 } } },
      3,
      3,
    );
    expect(headGroups(layer).map((g) => [g.start, g.count, g.pattern.window])).toEqual([
      [0, 2, 8],
      [2, 1, 8],
    ]);
    const head = { window: 4, dilation: 1, full: false };
    const starts = (...heads: HeadPattern[]) => headGroups({ heads }).map(({ start }) => start);
    expect(starts(head, { ...head, causal: false }, { ...head, causal: true })).toEqual([0, 2]);
    const full = { ...head, full: true };
    expect(starts(full, { ...full, window: 9, dilation: 2 }, { ...full, causal: true }, head)).toEqual([
      0, 2, 3,
    ]);
    expect(() => layerPattern({ window: 4, dilation: [1], full: false }, 0, 3)).toThrow(
      /one dilation for each of 3 heads/,
    );
  });
});

const heads = 2;
const headSize = 3;
const cases: {
  name: string;
  rows: Row[];
  window: number;
  dilation?: number;
  spare?: number;
  reach?: number;
  causal?: boolean;
}[] = [
  { name: "one block, odd length", rows: [{ segment: packed([5], 0), globals: [] }], window: 7 },
  { name: "several blocks, uneven end", rows: [{ segment: packed([11], 0), globals: [] }], window: 3 },
  { name: "window 1", rows: [{ segment: packed([4], 0), globals: [] }], window: 1 },
  {
    name: "globals inside and outside the window, padding, two rows",
    rows: [
      { segment: packed([13], 2), globals: [0, 1, 7] },
      { segment: packed([15], 0), globals: [4] },
    ],
    window: 4,
  },
  {
    name: "packed documents with their own globals",
    rows: [{ segment: packed([6, 5, 3], 2), globals: [0, 6, 11] }],
    window: 2,
  },
  { name: "empty global slots", rows: [{ segment: packed([9], 0), globals: [2] }], window: 2, spare: 3 },
  {
    name: "two blocks to each side, odd window, globals and documents",
    rows: [
      { segment: packed([14, 6], 1), globals: [0, 14] },
      { segment: packed([21], 0), globals: [3] },
    ],
    window: 5,
    reach: 2,
  },
  {
    name: "three blocks to each side, dilated",
    rows: [{ segment: packed([19], 0), globals: [] }],
    window: 3,
    dilation: 2,
    reach: 3,
  },
  { name: "dilated window", rows: [{ segment: packed([17], 0), globals: [] }], window: 2, dilation: 3 },
  {
    name: "dilated window with globals and documents",
    rows: [
      { segment: packed([9, 7], 1), globals: [0, 9] },
      { segment: packed([12], 5), globals: [0] },
    ],
    window: 2,
    dilation: 2,
  },
  { name: "causal", rows: [{ segment: packed([11], 0), globals: [] }], window: 3, causal: true },
  {
    name: "causal, globals in front and further on, documents, padding, two rows",
    rows: [
      { segment: packed([9, 4], 2), globals: [0, 5, 9] },
      { segment: packed([15], 0), globals: [3] },
    ],
    window: 4,
    spare: 1,
    causal: true,
  },
  {
    name: "causal, dilated, two blocks back",
    rows: [{ segment: packed([10, 9], 0), globals: [0, 10] }],
    window: 3,
    dilation: 2,
    reach: 2,
    causal: true,
  },
];

describe("window attention", () => {
  it.each(cases)("$name", async ({ rows, window, dilation = 1, spare = 0, reach = 1, causal = false }) => {
    const length = rows[0].segment.length;
    const pattern = { window, dilation, full: false, causal };
    const shape = [rows.length * length, heads * headSize];
    const size = shape[0] * shape[1];
    const parameters = {
      q: array(shape, wave(size, 2)),
      k: array(shape, wave(size, 3)),
      v: array(shape, wave(size, 4)),
    };
    const layout = layoutOf(rows, spare);
    const plan = makeBlockPlan(pattern, length, layout.globals?.count ?? 0, { reach });
    // In blocks and dense, each with masks of its own.
    const forms = [plan, null].map(
      (own) =>
        ({ q, k, v }: Record<string, Tensor>) =>
          attention(q, k, v, { heads, pattern, masks: new MaskCache(layout), plan: own }),
    );
    await checkOperator(parameters, forms);
  });

  it.each([
    {
      name: "many documents, short and long, padding, an empty row's worth of slots",
      rows: [
        { segment: packed([3, 4, 9, 2, 5], 1), globals: [0, 3, 7, 8, 16, 18] },
        { segment: packed([24], 0), globals: [0] },
      ],
      near: 5,
    },
    {
      name: "causal",
      rows: [{ segment: packed([5, 6, 8, 3], 3), globals: [0, 1, 5, 11, 12, 19] }],
      near: 4,
      causal: true,
    },
    {
      // The first document's second half is left out, as a dropped condition is; a block begins there.
      name: "holes in documents, two rows",
      rows: [
        { segment: [0, 0, 0, -1, -1, -1, 0, 1, 1, 1, 2, 2, -1, -1, 2, 2, 2], globals: [0, 7, 10, 14] },
        { segment: [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5], globals: [4, 14] },
      ],
      near: 3,
    },
  ])("slots near a block alone: $name", async ({ rows, near, causal = false }) => {
    const length = rows[0].segment.length;
    const pattern = { window: 3, dilation: 1, full: false, causal };
    const shape = [rows.length * length, heads * headSize];
    const size = shape[0] * shape[1];
    const parameters = {
      q: array(shape, wave(size, 2)),
      k: array(shape, wave(size, 3)),
      v: array(shape, wave(size, 4)),
    };
    const layout = layoutOf(rows, 3);
    const plan = makeBlockPlan(pattern, length, layout.globals!.count, { near });
    expect(plan.near).toBe(true);
    expect(plan.globalKeys).toBeLessThan(layout.globals!.count);
    await checkOperator(parameters, ({ q, k, v }) =>
      attention(q, k, v, { heads, pattern, masks: new MaskCache(layout), plan }),
    );
  });

  it("runs in blocks where they compute fewer pairs than there are", () => {
    const pattern = { window: 64, dilation: 1, full: false };
    expect([100, 144, 176, 272, 400, 2048].map((n) => blockPlan(pattern, n, 16) !== null)).toEqual([
      false,
      false,
      false,
      true,
      true,
      true,
    ]);
    expect(computedPairs(pattern, 144, 16)).toBe(144 ** 2);
    expect(computedPairs(pattern, 400, 16)).toBe(448 * 208 + 16 * 400);
  });

  it("a dilated window leaves positions out, however short the row", () => {
    const pattern = { window: 4, dilation: 2, full: false };
    const layout = layoutOf([{ segment: packed([7], 0), globals: [] }]);
    const tensor = (k: number) => constant(wave(7 * 2 * headSize, k), [7, 2 * headSize]);
    const outputs = [makeBlockPlan(pattern, 7, 0), null, undefined].map(
      (plan) =>
        evaluate(
          {
            name: "dilated",
            outputs: {
              y: attention(tensor(2), tensor(3), tensor(4), {
                heads,
                pattern,
                masks: new MaskCache(layout),
                plan,
              }),
            },
          },
          {},
        ).y.data,
    );
    for (const other of outputs.slice(1))
      for (const [i, value] of outputs[0].entries()) expect(Number(other[i])).toBeCloseTo(Number(value), 9);
    expect(coversRow(pattern, 7)).toBe(false);
    expect(coversRow({ ...pattern, window: 6, dilation: 1 }, 7)).toBe(true);
  });

  it.each([false, true])("full attention, with documents and padding; causal: %s", async (causal) => {
    const rows = [
      { segment: packed([4, 3], 2), globals: [] },
      { segment: packed([9], 0), globals: [] },
    ];
    const shape = [18, heads * headSize];
    const parameters = {
      q: array(shape, wave(108, 2)),
      k: array(shape, wave(108, 3)),
      v: array(shape, wave(108, 4)),
    };
    const pattern = { window: 1, dilation: 1, full: true, causal };
    await checkOperator(parameters, ({ q, k, v }) =>
      attention(q, k, v, { heads, pattern, masks: new MaskCache(layoutOf(rows)) }),
    );
  });

  it.each([false, true])(
    "a window at least as long as the row equals full attention; causal: %s",
    async (causal) => {
      const rows = [{ segment: packed([13], 0), globals: [0, 5] }];
      const shape = [13, heads * headSize];
      const size = shape[0] * shape[1];
      const parameters = {
        q: array(shape, wave(size, 2)),
        k: array(shape, wave(size, 3)),
        v: array(shape, wave(size, 4)),
      };
      const layout = layoutOf(rows);
      const masks = new MaskCache(layout);
      const [q, k, v] = ["q", "k", "v"].map((n) => parameter(n, shape));
      const pattern = { window: 16, dilation: 1, full: false, causal };
      const plan = makeBlockPlan(pattern, 13, 2);
      const module = {
        name: "both",
        outputs: {
          windowed: attention(q, k, v, { heads, pattern, masks, plan }),
          full: attention(q, k, v, { heads, pattern: { ...pattern, full: true }, masks }),
        },
      };
      const { windowed, full } = await runOnnx(module, {}, parameters);
      expect(distance(windowed, full)).toBeLessThan(1e-6);
    },
  );

  it("padding behind a document changes nothing for it", () => {
    const run = (padding: number) => {
      const length = 9 + padding;
      const ids = input("segment", "int64", [1, length]);
      const layout: Layout = { batch: 1, length, segment: ids, globals: null };
      const shape = [length, heads * headSize];
      const [q, k, v] = ["q", "k", "v"].map((n) => parameter(n, shape));
      const pattern = { window: 2, dilation: 1, full: false };
      const masks = new MaskCache(layout);
      const out = attention(q, k, v, { heads, pattern, masks, plan: makeBlockPlan(pattern, length, 0) });
      const values = (seed: number) => array(shape, [...wave(54, seed), ...wave(padding * 6, seed + 50)]);
      const segment: TensorData = {
        dtype: "int64",
        shape: [1, length],
        data: BigInt64Array.from(packed([9], padding), BigInt),
      };
      const result = evaluate(
        { name: "x", outputs: { out } },
        { segment },
        { q: values(2), k: values(3), v: values(4) },
        { lowered: true },
      );
      return result.out.data.slice(0, 54);
    };
    const [alone, padded] = [run(0), run(6)];
    for (const [i, value] of alone.entries()) expect(padded[i]).toBeCloseTo(value, 12);
  });
});
