/** @file log sum_e exp(x_e) over the last axis, without overflow: max(x) - log max(softmax(x)). Its gradient is softmax(x). */
import { NDArray } from "../ndarray.js";
import { defineComposite } from "../operator.js";
import { apply, type Tensor } from "../tensor.js";
import { log, mul, sub } from "./elementwise.js";
import { softmax } from "./normalise.js";
import { reduceMax } from "./reduce.js";

const logSumExpOperator = defineComposite<object, { probabilities: Tensor }>({
  name: "logSumExp",
  infer: ([x]) => [{ dtype: x.dtype, shape: [...x.shape.slice(0, -1), 1] }],
  lower: ([x]) => {
    const probabilities = softmax(x);
    const out = sub(reduceMax(x, [-1], true), log(reduceMax(probabilities, [-1], true)));
    return { outputs: [out], saved: { probabilities } };
  },
  adjoint: ([g], { saved: { probabilities } }) => [mul(g!, probabilities)],
  evaluate: ([x]) => {
    const width = x.shape.at(-1)!;
    const out = NDArray.zeros([...x.shape.slice(0, -1), 1]);
    for (let row = 0; row < out.data.length; row++) {
      const values = x.data.subarray(row * width, (row + 1) * width);
      const top = Math.max(...values);
      out.data[row] = top + Math.log(values.reduce((sum, v) => sum + Math.exp(v - top), 0));
    }
    return [out];
  },
});

/** log sum exp over the last axis, which stays as a dimension of 1. x float32 [..., E] -> [..., 1]. */
export const logSumExp = (x: Tensor): Tensor => apply(logSumExpOperator, [x], {})[0];
