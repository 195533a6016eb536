/** @file Int8 means of a table's rows: packing against its definition, ONNX Runtime against the reference, rows on their own. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../evaluate.js";
import { constant, input } from "../tensor.js";
import { array, distance, runOnnx, wave } from "../testing/check.js";
import { matmul } from "./matmul.js";
import { meanInt8, packTable } from "./mean-int8.js";

const table = (rows: number, width: number) => Float32Array.from(wave(rows * width, 3));

/** Softmaxes from sharp to flat: a few likely words before many that are not, as frequencies fall. */
const probabilities = (count: number, vocabulary: number): number[][] =>
  Array.from({ length: count }, (_, r) => {
    const weights = wave(vocabulary, r + 1).map((w, v) => Math.exp(w * 3 * r) / (v + 1));
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.map((w) => w / total);
  });

describe("int8 means", () => {
  it("packs each block of the table to half a step of its own scale", () => {
    const [rows, width] = [70, 3];
    const values = table(rows, width).map((t, i) => (i < 32 * width ? t : t / 1000));
    const packed = packTable(values, rows, width);
    const { q, scales } = evaluate(
      { name: "packed", outputs: { q: packed.packed, scales: packed.scales } },
      {},
    );
    expect([packed.block, q.shape]).toEqual([32, [width, 3, 32]]);
    for (let d = 0; d < width; d++)
      for (let v = 0; v < rows; v++) {
        const scale = scales.data[d * 3 + Math.floor(v / 32)];
        const back = scale * (q.data[d * 96 + v] - 128);
        expect(Math.abs(back - values[v * width + d])).toBeLessThanOrEqual(scale * 0.501);
      }
  });
  it("packs a block of zeros as zeros", () => {
    const packed = packTable(new Float32Array(64), 64, 1);
    const { q, scales } = evaluate(
      { name: "packed", outputs: { q: packed.packed, scales: packed.scales } },
      {},
    );
    expect(new Set(q.data)).toEqual(new Set([128]));
    expect(scales.data[0]).toBe(0);
  });

  // Probabilities are rounded to eight bits by the kernel, block by block; means of a flat row are small beside what they are means of.
  it.each([
    [5, 128, 16],
    [1, 1024, 33],
    [6, 272, 12],
    [3, 31, 2],
    [0, 64, 8],
  ])("%i rows over %i words, %i wide", async (count, vocabulary, width) => {
    const p = input("p", "float32", [null, vocabulary]);
    const values = table(vocabulary, width);
    const module = { name: "mean", outputs: { y: meanInt8(p, packTable(values, vocabulary, width)) } };
    const feeds = { p: array([count, vocabulary], probabilities(count, vocabulary).flat()) };
    const slow = evaluate(module, feeds).y;
    expect(slow.shape).toEqual([count, width]);
    const exact = evaluate(
      { name: "exact", outputs: { y: matmul(p, constant(values, [vocabulary, width])) } },
      feeds,
    ).y;
    expect(distance(slow, exact)).toBeLessThan(0.01);
    expect(distance((await runOnnx(module, feeds)).y, exact)).toBeLessThan(0.04);
  });

  it("gives a row the same result whatever else is in the batch", async () => {
    const [vocabulary, width] = [96, 40];
    const p = input("p", "float32", [null, vocabulary]);
    const module = {
      name: "mean",
      outputs: { y: meanInt8(p, packTable(table(vocabulary, width), vocabulary, width)) },
    };
    const rows = probabilities(17, vocabulary);
    const all = (await runOnnx(module, { p: array([17, vocabulary], rows.flat()) })).y;
    for (const r of [0, 4, 16]) {
      const alone = (await runOnnx(module, { p: array([1, vocabulary], rows[r]) })).y;
      expect([...alone.data]).toEqual([...all.data.subarray(r * width, (r + 1) * width)]);
    }
  });
  it("refuses weights over another vocabulary", () => {
    expect(() => meanInt8(input("p", "float32", [2, 5]), packTable(table(4, 3), 4, 3))).toThrow(
      "expected weights [rows, 4]",
    );
  });
});
