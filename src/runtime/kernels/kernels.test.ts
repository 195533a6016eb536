import { describe, expect, it } from "vitest";
import { CounterRandom } from "../../random/index.js";
import type { AdamWCoefficients } from "./kernels.js";
import { referenceKernels } from "./reference.js";
import { wasmKernels } from "./wasm.js";

const memory = new WebAssembly.Memory({ initial: 4, maximum: 4 });
const fast = wasmKernels(memory, new Float32Array(memory.buffer, 0, 256));
const random = new CounterRandom(1);
const scales = [1e-3, 1e-30, 1, 1e18];

/** The same `count` arrays of n normal numbers twice: in ordinary memory, and in the kernels', at odd places. */
function vectors(n: number, count: number): [slow: Float32Array[], fast: Float32Array[]] {
  const slow = Array.from({ length: count }, (_, k) => {
    const x = new Float32Array(n);
    random.fillNormal(x, 0, k, n);
    for (let i = 0; i < n; i++) x[i] *= scales[i % scales.length];
    return x;
  });
  let place = 1024;
  const copies = slow.map((x) => {
    const view = new Float32Array(memory.buffer, place, n);
    view.set(x);
    place += 4 * (n + 3); // 4-byte alignment only
    return view;
  });
  return [slow, copies];
}

describe.each([0, 1, 3, 4, 5, 31, 256, 1001])("kernels on %i elements", (n) => {
  it("adamw equals the plain loop to the bit", () => {
    const [slow, quick] = vectors(n, 4);
    for (const set of [slow, quick]) set[3].set(set[3].map(Math.abs));
    const coefficients: AdamWCoefficients = {
      gradientScale: 0.37,
      beta1: 0.9,
      beta2: 0.99,
      keep: 1 - 2e-3 * 0.1,
      rate: 2e-3 / (1 - 0.9 ** 3),
      rootScale: 1 / Math.sqrt(1 - 0.99 ** 3),
      epsilon: 1e-8,
    };
    referenceKernels.adamw(slow[0], slow[1], slow[2], slow[3], coefficients);
    fast.adamw(quick[0], quick[1], quick[2], quick[3], coefficients);
    for (const k of [0, 1, 2, 3]) expect([...quick[k]]).toEqual([...slow[k]]);
  });

  it("sumOfSquares equals the plain loop to the bit", () => {
    const [[x], [y]] = vectors(n, 1);
    expect(fast.sumOfSquares(y)).toBe(referenceKernels.sumOfSquares(x));
  });

  it("ema, addScaled and fill equal the plain loops to the bit", () => {
    const [slow, quick] = vectors(n, 3);
    const elsewhere = slow[2].slice();
    for (const [kernels, [a, b, c]] of [
      [referenceKernels, slow],
      [fast, quick],
    ] as const) {
      kernels.ema(a, b, 0.999);
      kernels.addScaled(b, c, 0.5);
      kernels.addScaled(b, elsewhere, -0.3); // from memory the kernels do not own: staged
      kernels.fill(c, 1.25);
    }
    for (const k of [0, 1, 2]) expect([...quick[k]]).toEqual([...slow[k]]);
  });

  it("writes nothing beyond its arrays", () => {
    const view = new Float32Array(memory.buffer, 2048, n);
    const guard = new Float32Array(memory.buffer, 2048 + 4 * n, 4).fill(7);
    fast.fill(view, 1);
    fast.addScaled(view, new Float32Array(n).fill(2), 3);
    expect([...guard]).toEqual([7, 7, 7, 7]);
    expect(view.every((v) => v === 7)).toBe(true);
  });
});

describe("kernels", () => {
  it("show values that are not finite in the sum of squares", () => {
    const [, [x]] = vectors(9, 1);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
      for (const place of [0, 8]) {
        x.fill(1);
        x[place] = bad;
        expect(Number.isFinite(fast.sumOfSquares(x))).toBe(false);
      }
  });

  it("refuse views of other memory and other lengths", () => {
    const view = new Float32Array(memory.buffer, 0, 4);
    expect(() => fast.fill(new Float32Array(4), 0)).toThrow(
      "expected a view of 4 floats in the kernels' memory",
    );
    expect(() => fast.ema(view, view.subarray(1), 0.5)).toThrow("expected a view of 3 floats");
    expect(() => fast.addScaled(view, new Float32Array(3), 1)).toThrow("expected 4 floats to add, got 3");
  });
});
