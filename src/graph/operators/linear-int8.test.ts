/** @file Int8 linear layers: packing and rounding against their definition, ONNX Runtime against the reference, rows on their own. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../evaluate.js";
import { constant, input } from "../tensor.js";
import { array, distance, runOnnx, wave } from "../testing/check.js";
import { int8Range, linearInt8, packInt8, quantizeRows, takeInt8Rows } from "./linear-int8.js";
import { linear } from "./matmul.js";

/** Right on every processor. */
const SAFE = int8Range.safe;
const weights = (outer: number, inner: number) => Float32Array.from(wave(outer * inner, 3));
/** Rows of very different size, one of zeros. */
const rowsOf = (rows: number, inner: number) =>
  Array.from({ length: rows }, (_, r) =>
    wave(inner, r + 1).map((v) => (r === rows - 1 ? 0 : v * 10 ** (r % 5))),
  );

describe("int8 linear layers", () => {
  it("packs each row of weights to half a step of its own scale", () => {
    const [outer, inner] = [3, 70];
    const weight = weights(outer, inner).map((w, i) => (i < inner ? w / 1000 : w));
    weight.fill(0, 2 * inner);
    const { q, scales } = evaluate({ name: "packed", outputs: { ...packInt8(weight, outer, inner) } }, {});
    expect(q.shape).toEqual([inner, outer]);
    for (let o = 0; o < outer; o++)
      for (let k = 0; k < inner; k++) {
        const back = scales.data[o] * q.data[k * outer + o];
        expect(Math.abs(back - weight[o * inner + k])).toBeLessThanOrEqual(scales.data[o] * 0.501);
      }
    expect([...q.data].filter((v) => Math.abs(v) === 127).length).toBeGreaterThanOrEqual(2);
  });

  it("rounds each row to half a step of its own scale, in every form", async () => {
    const [count, inner] = [7, 33];
    const x = input("x", "float32", [null, inner]);
    const module = { name: "rows", outputs: { ...quantizeRows(x) } };
    const feeds = { x: array([count, inner], rowsOf(count, inner).flat()) };
    const slow = evaluate(module, feeds, {}, { lowered: false });
    for (let i = 0; i < count * inner; i++) {
      const scale = slow.scale.data[Math.floor(i / inner)];
      expect(Math.abs(scale * (slow.q.data[i] - 128) - feeds.x.data[i])).toBeLessThanOrEqual(scale * 0.501);
    }
    const lowered = evaluate(module, feeds, {}, { lowered: true });
    const fast = await runOnnx(module, feeds);
    for (const other of [lowered, fast]) {
      expect(distance(other.scale, slow.scale)).toBeLessThan(1e-6);
      expect([...other.q.data]).toEqual([...slow.q.data]);
    }
  });

  it.each([
    [5, 128, 16],
    [1, 256, 33],
    [7, 70, 5],
    [3, 31, 2],
    [0, 64, 8],
  ])("%i rows of %i to %i", async (rows, inner, outer) => {
    const x = input("x", "float32", [null, inner]);
    const weight = weights(outer, inner);
    const module = {
      name: "linear",
      outputs: { y: linearInt8(quantizeRows(x), packInt8(weight, outer, inner, SAFE)) },
    };
    const feeds = { x: array([rows, inner]) };
    const slow = evaluate(module, feeds).y;
    expect(slow.shape).toEqual([rows, outer]);
    expect(distance((await runOnnx(module, feeds)).y, slow)).toBeLessThan(2e-6);
    const exact = evaluate(
      { name: "exact", outputs: { y: linear(x, constant(weight, [outer, inner])) } },
      feeds,
    ).y;
    expect(distance(slow, exact)).toBeLessThan(0.03);
  });

  it("sums the largest products without overflow", async () => {
    const [inner, outer] = [512, 3];
    const x = input("x", "float32", [null, inner]);
    const module = {
      name: "largest",
      outputs: {
        y: linearInt8(quantizeRows(x), packInt8(new Float32Array(outer * inner).fill(1), outer, inner, SAFE)),
      },
    };
    const feeds = { x: array([2, inner], [...Array(inner).fill(1), ...Array(inner).fill(-1)]) };
    const y = (await runOnnx(module, feeds)).y;
    expect(distance(y, array([2, outer], [inner, inner, inner, -inner, -inner, -inner]))).toBeLessThan(1e-5);
  });

  it("gives a row the same result whatever else is in the batch, and when it is taken after it is rounded", async () => {
    const [inner, outer] = [96, 40];
    const x = input("x", "float32", [null, inner]);
    const index = input("index", "int64", [null]);
    const weight = packInt8(weights(outer, inner), outer, inner, SAFE);
    const module = {
      name: "linear",
      outputs: {
        y: linearInt8(quantizeRows(x), weight),
        taken: linearInt8(takeInt8Rows(quantizeRows(x), index), weight),
      },
    };
    const rows = rowsOf(17, inner);
    const of = (numbers: number[]) => ({
      dtype: "int64" as const,
      shape: [numbers.length],
      data: BigInt64Array.from(numbers, BigInt),
    });
    const all = await runOnnx(module, { x: array([17, inner], rows.flat()), index: of([16, 4, 0]) });
    for (const [i, r] of [16, 4, 0].entries()) {
      const alone = (await runOnnx(module, { x: array([1, inner], rows[r]), index: of([0]) })).y;
      expect([...alone.data]).toEqual([...all.y.data.subarray(r * outer, (r + 1) * outer)]);
      expect([...alone.data]).toEqual([...all.taken.data.subarray(i * outer, (i + 1) * outer)]);
    }
  });

  it("refuses a matrix of another width", () => {
    expect(() =>
      linearInt8(quantizeRows(input("x", "float32", [2, 5])), packInt8(weights(3, 4), 3, 4)),
    ).toThrow("expected x [rows, 4]");
  });
});
