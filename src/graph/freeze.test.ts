/** @file Frozen modules compute what they did, need no parameters, and int8 goes where it is allowed. */
import { describe, expect, it } from "vitest";
import { evaluate } from "./evaluate.js";
import { freeze, Int8Memory } from "./freeze.js";
import { lower } from "./lower.js";
import { type GraphModule, rootsOf } from "./module.js";
import { writeOnnx } from "./onnx.js";
import { add } from "./operators/elementwise.js";
import { gather } from "./operators/indexing.js";
import { int8Range } from "./operators/linear-int8.js";
import { linear, matmul } from "./operators/matmul.js";
import { rmsNorm, softmax } from "./operators/normalise.js";
import { concat, reshape } from "./operators/shape.js";
import { constant, input, parameter } from "./tensor.js";
import { array, distance, runOnnx, wave } from "./testing/check.js";
import { topologicalOrder } from "./walk.js";

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
    const frozen = freeze(module, values, {
      int8: (name) => name.startsWith("first"),
      memory: new Int8Memory(int8Range.safe),
    });
    const expected = evaluate(module, feeds, parameters).y;
    const error = distance((await runOnnx(frozen, feeds)).y, expected);
    expect(error).toBeGreaterThan(1e-5);
    expect(error).toBeLessThan(0.03);
    const none = freeze(module, values, { int8: () => false });
    expect(writeOnnx(none).bytes.length).toBeGreaterThan(writeOnnx(frozen).bytes.length + 2 * 32 * 64);
  });
  it("takes int8 for products with what is made of named parameters, over rows that are taken too", async () => {
    const index = constant([2, 0], [2], "int64");
    const table = rmsNorm(parameter("first.weight", [32, 64]));
    const wide = concat([table, reshape(parameter("first.bias", [32]), [32, 1])], 1);
    const ones = constant(new Float32Array(3).fill(1), [3, 1]);
    const rows = concat([x, ones], 1);
    const logits = linear(gather(rows, index), wide);
    // The same once more: one product serves both.
    const again = linear(gather(rows, index), wide);
    const means = matmul(softmax(add(logits, again)), table);
    const outputs = { logits, means };
    const expected = evaluate({ name: "vocabulary", outputs }, feeds, parameters);
    const memory = new Int8Memory(int8Range.safe);
    const options = { int8: (name: string) => name.startsWith("first"), memory };
    const frozen = freeze({ name: "vocabulary", outputs }, values, options);
    const fast = await runOnnx(frozen, feeds);
    for (const name of ["logits", "means"] as const) {
      expect(distance(evaluate(frozen, feeds)[name], expected[name]), name).toBeLessThan(0.03);
      expect(distance(fast[name], expected[name]), name).toBeLessThan(0.03);
    }
    expect([memory.weights.size, memory.tables.size]).toEqual([1, 1]);
    const [packed] = memory.weights.values();
    freeze({ name: "again", outputs: { logits } }, values, options);
    expect([...memory.weights.values()]).toEqual([packed]);
    const products = (module: GraphModule) =>
      topologicalOrder(lower(rootsOf(module))).filter(({ operator }) => /Int8$/.test(operator.name)).length;
    expect(products(frozen)).toBe(2);
    expect(
      products(freeze({ name: "none", outputs }, values, { int8: (name) => name === "first.weight" })),
    ).toBe(1);
  });
  it("says which value is missing or has another size, and that gradients cannot be frozen", () => {
    const { "second.weight": _, ...some } = values;
    expect(() => freeze(module, some)).toThrow('expected 160 values for "second.weight", got none');
    expect(() => freeze(module, { ...values, "first.bias": new Float32Array(3) })).toThrow("got 3");
    const [y] = Object.values(module.outputs);
    expect(() => freeze({ ...module, gradients: { y } }, values)).toThrow("without gradients");
  });
});
