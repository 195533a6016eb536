/** @file Int8 linear layers: packing against its definition, ONNX Runtime against the reference, rows on their own. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../evaluate.js";
import { constant, input } from "../tensor.js";
import { array, distance, runOnnx, wave } from "../testing/check.js";
import { linearInt8, packInt8 } from "./linear-int8.js";

const weights = (outer: number, inner: number) => Float32Array.from(wave(outer * inner, 3));

describe("int8 linear layers", () => {
  it("packs each block of weights to half a step of its own scale", () => {
    const [outer, inner] = [3, 70];
    const weight = weights(outer, inner).map((w, i) => (i % inner < 32 ? w : w / 1000));
    const { packed, scales, block, blocks } = packInt8(weight, outer, inner);
    expect([block, blocks]).toEqual([32, 3]);
    for (let o = 0; o < outer; o++)
      for (let k = 0; k < inner; k++) {
        const scale = scales[o * blocks + Math.floor(k / block)];
        const back = scale * (packed[o * blocks * block + k] - 128);
        expect(Math.abs(back - weight[o * inner + k])).toBeLessThanOrEqual(scale * 0.501);
      }
  });
  it("packs a block of zeros as zeros", () => {
    const { packed, scales } = packInt8(new Float32Array(64), 1, 64);
    expect(new Set(packed)).toEqual(new Set([128]));
    expect(scales[0]).toBe(0);
  });

  // Activations are rounded to eight bits by the kernel: about a hundredth of the largest result.
  it.each([
    [5, 128, 16, true],
    [1, 256, 33, false],
    [7, 70, 5, true],
    [3, 31, 2, true],
    [0, 64, 8, true],
  ])("%i rows of %i to %i (bias: %s)", async (rows, inner, outer, hasBias) => {
    const x = input("x", "float32", [null, inner]);
    const bias = hasBias ? constant(Float32Array.from(wave(outer, 5)), [outer]) : null;
    const module = {
      name: "linear",
      outputs: { y: linearInt8(x, weights(outer, inner), [outer, inner], bias) },
    };
    const feeds = { x: array([rows, inner]) };
    const slow = evaluate(module, feeds).y;
    expect(slow.shape).toEqual([rows, outer]);
    const fast = (await runOnnx(module, feeds)).y;
    expect(distance(fast, slow)).toBeLessThan(0.02);
  });

  it("gives a row the same result whatever else is in the batch", async () => {
    const [inner, outer] = [96, 40];
    const x = input("x", "float32", [null, inner]);
    const module = { name: "linear", outputs: { y: linearInt8(x, weights(outer, inner), [outer, inner]) } };
    const rows = Array.from({ length: 17 }, (_, r) => wave(inner, r + 1).map((v) => v * 10 ** (r % 5)));
    const all = (await runOnnx(module, { x: array([17, inner], rows.flat()) })).y;
    for (const r of [0, 4, 16]) {
      const alone = (await runOnnx(module, { x: array([1, inner], rows[r]) })).y;
      expect([...alone.data]).toEqual([...all.data.subarray(r * outer, (r + 1) * outer)]);
    }
  });
  it("refuses a matrix of another width", () => {
    expect(() => linearInt8(input("x", "float32", [2, 5]), weights(3, 4), [3, 4])).toThrow(
      "expected x [rows, 4]",
    );
  });
});
