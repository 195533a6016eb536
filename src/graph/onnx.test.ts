/** @file The writer: constants that are equal to the bit alone are one, and no two values have one name. */
import { describe, expect, it } from "vitest";
import { KnownTensors } from "./known-tensors.js";
import { writeOnnx } from "./onnx.js";
import { definePrimitive, type OnnxForm } from "./operator.js";
import { mul, reciprocal } from "./operators/elementwise.js";
import { apply, constant, input, parameter } from "./tensor.js";
import { runOnnx } from "./testing/check.js";

it("tells 0 from -0", async () => {
  const [plus, minus] = [constant(0), constant(-0)];
  const module = { name: "zeros", outputs: { plus: reciprocal(plus), minus: reciprocal(minus) } };
  const results = await runOnnx(module, {});
  expect([...results.plus.data, ...results.minus.data]).toEqual([
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  ]);
  const known = new KnownTensors({});
  for (const { node } of [plus, minus]) known.visit(node);
  expect(known.origin(plus)).not.toEqual(known.origin(minus));
});

it("refuses one name for two values", () => {
  const x = input("x", "float32", [2]);
  const twice = (name: string) => `expected a name of its own for every value of "m", got "${name}" twice`;
  expect(() => writeOnnx({ name: "m", outputs: { x: mul(x, 2) } })).toThrow(twice("x"));
  const both = { y: mul(x, parameter("x", [2])) };
  expect(() => writeOnnx({ name: "m", outputs: both })).toThrow(twice("x"));
  const named = input("constant_0", "float32", [2]);
  expect(() => writeOnnx({ name: "m", outputs: { y: mul(named, 2) } })).toThrow(twice("constant_0"));
  const gradients = { w: mul(x, 3) };
  expect(() => writeOnnx({ name: "m", outputs: { "gradient:w": mul(x, 2) }, gradients })).toThrow(
    twice("gradient:w"),
  );
});

describe("operators known to be wrong", () => {
  const written = (form: OnnxForm) => {
    const operator = definePrimitive({
      name: "suspect",
      infer: ([x]) => [x],
      onnx: () => form,
      evaluate: ([x]) => [x],
    });
    const [y] = apply(operator, [input("x", "float32", [2])], {});
    return writeOnnx({ name: "m", outputs: { y } });
  };

  it.each<[OnnxForm, string]>([
    [{ type: "ScatterND", attributes: { reduction: "add" } }, "loses updates on duplicate indices"],
    [{ type: "ConstantOfShape" }, "yields floats whatever is asked of it"],
    [{ type: "RandomNormal" }, "random operators ignore the counter-based generator"],
    [{ type: "Multinomial" }, "random operators ignore the counter-based generator"],
    [{ type: "Bernoulli" }, "random operators ignore the counter-based generator"],
    [{ type: "Dropout" }, "multiply by a mask that is fed"],
  ])("are refused: %j", (form, why) => {
    expect(() => written(form)).toThrow(new RegExp(`^onnx: ${form.type} at .* is refused: .*${why}`));
  });

  it("are told from those that are not", () => {
    for (const attributes of [{}, { reduction: "none" }] as OnnxForm["attributes"][])
      expect(written({ type: "ScatterND", attributes }).nodeCount).toBe(1);
  });
});
