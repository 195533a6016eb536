/** @file Softmax and layer normalisation. Softmax is one ONNX node; layer norm a composite with a hand-written adjoint. */
import { NDArray } from "../ndarray.js";
import { defineComposite, definePrimitive } from "../operator.js";
import { apply, type Tensor } from "../tensor.js";
import { sizeOf } from "../types.js";
import { unbroadcast } from "./broadcast.js";
import { requireDtype, requireTensor } from "./checks.js";
import { add, mul, reciprocal, sqrt, sub } from "./elementwise.js";
import { rowDot } from "./matmul.js";
import { reduceMean, reduceSum } from "./reduce.js";

const softmaxOperator = definePrimitive<object>({
  name: "softmax",
  infer: ([x]) => {
    requireDtype("softmax", x, "float32");
    return [{ dtype: x.dtype, shape: x.shape }];
  },
  onnx: () => ({ type: "Softmax", attributes: { axis: -1 } }),
  adjoint: ([g], { outputs: [p] }) => {
    const weighted = mul(g!, p);
    return [sub(weighted, mul(p, reduceSum(weighted, [-1], true)))];
  },
  evaluate: ([x]) => {
    const out = NDArray.zeros(x.shape);
    const width = x.shape.at(-1)!;
    for (let start = 0; start < x.data.length; start += width) {
      const row = x.data.subarray(start, start + width);
      const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
      let total = 0;
      for (let i = 0; i < width; i++) total += out.data[start + i] = Math.exp(row[i] - top);
      for (let i = 0; i < width; i++) out.data[start + i] /= total;
    }
    return [out];
  },
});
/** exp(x) / sum exp(x) over the last axis. */
export const softmax = (x: Tensor): Tensor => apply(softmaxOperator, [x], {})[0];

/** Mean and 1/deviation of one row. */
function moments(row: Float64Array, epsilon: number): [mean: number, inverse: number] {
  const mean = row.reduce((a, b) => a + b, 0) / row.length;
  const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
  return [mean, 1 / Math.sqrt(variance + epsilon)];
}

const layerNormalization = definePrimitive<{ epsilon: number }>({
  name: "layerNormalization",
  infer: ([x]) => {
    const rows = [...x.shape.slice(0, -1), 1];
    return [x.shape, rows, rows].map((shape) => ({ dtype: x.dtype, shape }));
  },
  onnx: ({ epsilon }) => ({
    type: "LayerNormalization",
    attributes: { axis: -1, epsilon: { float: epsilon } },
  }),
  evaluate: ([x, weight, bias], { epsilon }) => {
    const width = x.shape.at(-1)!;
    const rows = [...x.shape.slice(0, -1), 1];
    const [out, means, inverses] = [NDArray.zeros(x.shape), NDArray.zeros(rows), NDArray.zeros(rows)];
    for (let r = 0; r < sizeOf(rows); r++) {
      const [mean, inverse] = moments(x.data.subarray(r * width, (r + 1) * width), epsilon);
      means.data[r] = mean;
      inverses.data[r] = inverse;
      for (let i = 0; i < width; i++)
        out.data[r * width + i] = (x.data[r * width + i] - mean) * inverse * weight.data[i] + bias.data[i];
    }
    return [out, means, inverses];
  },
});

const layerNormOperator = defineComposite<{ epsilon: number }, { mean: Tensor; inverse: Tensor }>({
  name: "layerNorm",
  infer: ([x, weight, bias]) => {
    requireDtype("layerNorm", x, "float32");
    const width = x.shape.slice(-1);
    requireTensor("layerNorm", "the weight", weight, "float32", width);
    requireTensor("layerNorm", "the bias", bias, "float32", width);
    return [{ dtype: x.dtype, shape: x.shape }];
  },
  lower: (inputs, attributes) => {
    const [out, mean, inverse] = apply(layerNormalization, inputs, attributes);
    return { outputs: [out], saved: { mean, inverse } };
  },
  // With xhat = (x - mean)/dev and u = dy * weight: dx = (u - mean(u) - xhat * mean(u * xhat)) / dev
  adjoint: ([g], { inputs: [x, weight], saved: { mean, inverse } }) => {
    const xhat = mul(sub(x, mean), inverse);
    const u = mul(g!, weight);
    const dx = mul(
      sub(sub(u, reduceMean(u, [-1], true)), mul(xhat, reduceMean(mul(u, xhat), [-1], true))),
      inverse,
    );
    return [dx, unbroadcast(mul(g!, xhat), weight.shape), unbroadcast(g!, weight.shape)];
  },
  evaluate: (inputs, attributes) => [layerNormalization.evaluate(inputs, attributes)[0]],
});
/** (x - mean) / sqrt(variance + epsilon) * weight + bias over the last axis. x [..., D], weight [D], bias [D]. */
export const layerNorm = (x: Tensor, weight: Tensor, bias: Tensor, epsilon = 1e-5): Tensor =>
  apply(layerNormOperator, [x, weight, bias], { epsilon })[0];

const rmsNormOperator = defineComposite<{ epsilon: number }, { inverse: Tensor; out: Tensor }>({
  name: "rmsNorm",
  infer: ([x]) => {
    requireDtype("rmsNorm", x, "float32");
    return [{ dtype: x.dtype, shape: x.shape }];
  },
  lower: ([x], { epsilon }) => {
    const inverse = reciprocalRoot(x, epsilon);
    const out = mul(x, inverse);
    return { outputs: [out], saved: { inverse, out } };
  },
  // y = x r, r = (mean x^2 + eps)^(-1/2): dx = (dy - y * mean(dy * y)) r
  adjoint: ([g], { inputs: [x], saved: { inverse, out } }) => {
    const width = x.staticShape.at(-1)!;
    return [mul(sub(g!, mul(out, mul(rowDot(g!, out), 1 / width))), inverse)];
  },
  evaluate: ([x], { epsilon }) => {
    const width = x.shape.at(-1)!;
    const out = NDArray.zeros(x.shape);
    for (let start = 0; start < x.data.length; start += width) {
      let square = 0;
      for (let i = 0; i < width; i++) square += x.data[start + i] ** 2;
      const inverse = 1 / Math.sqrt(square / width + epsilon);
      for (let i = 0; i < width; i++) out.data[start + i] = x.data[start + i] * inverse;
    }
    return [out];
  },
});
const reciprocalRoot = (x: Tensor, epsilon: number): Tensor =>
  reciprocal(sqrt(add(reduceMean(mul(x, x), [-1], true), epsilon)));
/** x / sqrt(mean(x^2) + epsilon) over the last axis: rows of root mean square one. x [..., D]. */
export const rmsNorm = (x: Tensor, epsilon = 1e-6): Tensor => apply(rmsNormOperator, [x], { epsilon })[0];
