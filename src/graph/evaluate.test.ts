/** @file What the reference evaluation refuses to be fed. */
import { expect, it } from "vitest";
import { evaluate } from "./evaluate.js";
import { mul } from "./operators/elementwise.js";
import { input, parameter } from "./tensor.js";
import { array } from "./testing/check.js";

it("refuses values of another rank, shape or element type than was declared", () => {
  const y = mul(input("x", "float32", [null, 3]), parameter("w", [3]));
  const run = (x: readonly number[], w: readonly number[] = [3]) =>
    evaluate({ name: "shapes", outputs: { y } }, { x: array(x) }, { w: array(w) }).y.shape;
  expect(run([2, 3])).toEqual([2, 3]);
  expect(run([0, 3])).toEqual([0, 3]);
  expect(() => run([2, 3, 1])).toThrow(
    'evaluate: expected float32[?, 3] for input "x", got float32[2, 3, 1]',
  );
  expect(() => run([3])).toThrow('for input "x", got float32[3]');
  expect(() => run([2, 4])).toThrow('for input "x", got float32[2, 4]');
  expect(() => run([2, 3], [3, 1])).toThrow(
    'evaluate: expected float32[3] for parameter "w", got float32[3, 1]',
  );
  const x = { dtype: "int64" as const, shape: [1, 3], data: new BigInt64Array(3) };
  expect(() => evaluate({ name: "types", outputs: { y } }, { x }, { w: array([3]) })).toThrow(
    "got int64[1, 3]",
  );
});
