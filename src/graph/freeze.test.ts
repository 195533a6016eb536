/** @file Frozen modules compute what they did, need no parameters, and int8 goes where it is allowed. */
import { describe, expect, it } from "vitest";
import { evaluate } from "./evaluate.js";
import { freeze } from "./freeze.js";
import { writeOnnx } from "./onnx.js";
import { linear } from "./operators/matmul.js";
import { rmsNorm } from "./operators/normalise.js";
import { input, parameter } from "./tensor.js";
import { array, distance, runOnnx, wave } from "./testing/check.js";

const x = input("x", "float32", [3, 64]);
const module = {
  name: "net",
  outputs: {
    y: linear(
      rmsNorm(linear(x, parameter("first.weight", [32, 64]), parameter("first.bias", [32]))),
      parameter("second.weight", [5, 32]),
    ),
  },
};
const values = {
  "first.weight": Float32Array.from(wave(32 * 64, 1)),
  "first.bias": Float32Array.from(wave(32, 2)),
  "second.weight": Float32Array.from(wave(5 * 32, 3)),
};
const arrays = Object.fromEntries(Object.entries(values).map(([name, v]) => [name, array([v.length], v)]));
const parameters = {
  "first.weight": array([32, 64], arrays["first.weight"].data),
  "first.bias": arrays["first.bias"],
  "second.weight": array([5, 32], arrays["second.weight"].data),
};
const feeds = { x: array([3, 64], wave(192, 4)) };

describe("freeze", () => {
  it("computes the same without parameters", async () => {
    const frozen = freeze(module, values);
    expect(writeOnnx(frozen).parameters).toEqual([]);
    const expected = evaluate(module, feeds, parameters).y;
    expect(distance(evaluate(frozen, feeds).y, expected)).toBeLessThan(1e-7);
    expect(distance((await runOnnx(frozen, feeds)).y, expected)).toBeLessThan(2e-6);
  });
  it("takes int8 for the weights that are named, and no others", async () => {
    const frozen = freeze(module, values, { int8: (name) => name.startsWith("first") });
    const expected = evaluate(module, feeds, parameters).y;
    const error = distance((await runOnnx(frozen, feeds)).y, expected);
    expect(error).toBeGreaterThan(1e-5);
    expect(error).toBeLessThan(0.03);
    const none = freeze(module, values, { int8: () => false });
    expect(writeOnnx(none).bytes.length).toBeGreaterThan(writeOnnx(frozen).bytes.length + 2 * 32 * 64);
  });
  it("says which value is missing or has another size, and that gradients cannot be frozen", () => {
    const { "second.weight": _, ...some } = values;
    expect(() => freeze(module, some)).toThrow('expected 160 values for "second.weight", got none');
    expect(() => freeze(module, { ...values, "first.bias": new Float32Array(3) })).toThrow("got 3");
    const [y] = Object.values(module.outputs);
    expect(() => freeze({ ...module, gradients: { y } }, values)).toThrow("without gradients");
  });
});
