/** @file Attention of some rows against its oracle: windows inside the row and far beyond it, and how many keys they gather. */
import { describe, expect, it } from "vitest";
import { constant, type Tensor } from "../../graph/index.js";
import { array, checkOperator, runOnnx, wave } from "../../graph/testing/check.js";
import type { ActiveRows } from "../active-rows.js";
import { CachedKeys, cachedAttention, keyTable } from "./cached.js";
import type { Layout } from "./masks.js";
import type { HeadPattern } from "./pattern.js";

const heads = 2;
const headSize = 3;
const width = heads * headSize;
const slots = 2;
const span = 4;
const ints = (values: number[], shape = [values.length]): Tensor => constant(values, shape, "int64");

/** Two rows: documents of 9 and 8 positions and of 15, then padding. With `globals`, 0 and 9 of the first are global. */
function layoutOf(length: number, globals: boolean): Layout {
  const row = (...sizes: number[]) => {
    const segments = sizes.flatMap((size, document) => new Array<number>(size).fill(document));
    return Array.from({ length }, (_, p) => segments[p] ?? -1);
  };
  const slot = new Array<number>(2 * length).fill(0);
  [slot[0], slot[9]] = [1, 2];
  return {
    batch: 2,
    length,
    segment: ints([...row(9, 8), ...row(15)], [2, length]),
    globals: globals
      ? {
          count: 2,
          index: ints([0, 9, length, length]),
          valid: constant([1, 1, 0, 0], [2, 2]),
          slot: ints(slot),
        }
      : null,
  };
}

/** Groups of two rows each: at the start and the end of documents, and in the middle of the other row. */
function rowsOf(length: number): ActiveRows {
  const row = [1, 3, 8, 11, 15, 16, length + 5, length + 7];
  const place = new Array<number>(2 * length).fill(0);
  for (const [r, at] of row.entries()) place[at] = r + 1;
  return {
    shape: { groups: row.length / slots, slots, span },
    count: row.length,
    row: ints(row),
    sequence: ints(row.map((at) => Math.floor(at / length))),
    present: constant(new Array<number>(row.length).fill(1), [row.length], "bool"),
    start: ints(row.filter((_, r) => r % slots === 0)),
    place: ints(place),
  };
}

const keysOf = (length: number, globals = false): CachedKeys => {
  const rows = rowsOf(length);
  return new CachedKeys(layoutOf(length, globals), rows, rows);
};
/** Values of the first 17 and 15 positions of the rows are the same for all lengths. */
const valuesOf = (length: number) => {
  const held = (seed: number) => {
    const rows = [wave(60 * width, seed), wave(60 * width, seed + 10)];
    return array(
      [2 * length, width],
      rows.flatMap((own) => own.slice(0, length * width)),
    );
  };
  const ofRows = (seed: number) => array([8, width], wave(8 * width, seed));
  return { q: ofRows(1), key: held(2), value: held(3), freshKey: ofRows(4), freshValue: ofRows(5) };
};
const attend =
  (pattern: HeadPattern, keys: CachedKeys) =>
  ({ q, key, value, freshKey, freshValue }: Record<string, Tensor>): Tensor =>
    cachedAttention(
      q,
      keyTable({ key, value }, { key: freshKey, value: freshValue }),
      { pattern, start: 0, count: heads },
      keys,
    );

const windows: [window: number, dilation: number][] = [
  [3, 1],
  [2, 3],
  [1, 19], // the last that ends inside the row
  [1, 20],
  [5, 4],
  [2, 150],
  [100, 7],
];

describe.each([false, true])("cached attention, causal: %s", (causal) => {
  it.each(windows)("window %i in steps of %i", async (window, dilation) => {
    const pattern = { window, dilation, full: false, causal };
    for (const globals of [false, true])
      await checkOperator(valuesOf(20), attend(pattern, keysOf(20, globals)), { differentiable: [] });
  });

  it("gathers hardly more keys than the row has to either side", () => {
    const sides = causal ? 1 : 2;
    for (const [window, dilation] of [
      [128, 1000],
      [100, 7],
      [1, 20],
      [1, 19],
      [5, 3],
    ]) {
      const pattern = { window, dilation, full: false, causal };
      const reach = (keysOf(20).of(pattern).keyRow.staticShape[1] - span) / sides;
      const whole = window * dilation;
      expect(reach, `${window}/${dilation}`).toBeGreaterThanOrEqual(Math.min(whole, 19));
      expect(reach, `${window}/${dilation}`).toBeLessThan(Math.min(whole + 1, 19 + 64));
    }
  });

  it("is the same to the bit in a longer row", async () => {
    const pattern = { window: 90, dilation: 2, full: false, causal };
    const [short, ...longer] = await Promise.all(
      [20, 33, 53, 59].map(async (length) => {
        const parameters = valuesOf(length);
        const { out } = await runOnnx(
          { name: "rows", outputs: { out: attendOf(parameters, pattern, length) } },
          {},
        );
        return out.data;
      }),
    );
    for (const long of longer) expect(long).toEqual(short);
  });
});

/** The same over constants. */
const attendOf = (values: ReturnType<typeof valuesOf>, pattern: HeadPattern, length: number): Tensor =>
  attend(
    pattern,
    keysOf(length),
  )(
    Object.fromEntries(
      Object.entries(values).map(([name, { data, shape }]) => [name, constant(data, shape)]),
    ),
  );
