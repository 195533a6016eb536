import { expect, it } from "vitest";
import { evaluate } from "../evaluate.js";
import { constant } from "../tensor.js";
import { array, checkOperator } from "../testing/check.js";
import { mul } from "./elementwise.js";
import { logSumExp } from "./log-sum-exp.js";

it.each([[[2, 3, 5]], [[4, 1]], [[7]]])("logSumExp of %j", async (shape) => {
  await checkOperator({ x: array(shape) }, ({ x }) => logSumExp(mul(x, 3)));
});

it("logSumExp of large numbers does not overflow", () => {
  const out = logSumExp(constant([1000, 1000, -1000, 0, 0, 0], [2, 3]));
  const { y } = evaluate({ name: "m", outputs: { y: out } }, {});
  expect(y.shape).toEqual([2, 1]);
  expect([...y.data]).toEqual([1000 + Math.log(2), Math.log(3)].map((v) => expect.closeTo(v, 9)));
});
