/** @file Reductions (sum, mean, max, min over axes) and the cumulative sum. */
import { forEachIndex, NDArray, stridesOf } from "../ndarray.js";
import { definePrimitive, type PrimitiveOperator } from "../operator.js";
import { apply, type Tensor } from "../tensor.js";
import type { Shape } from "../types.js";
import { axesOf, axisOf } from "./axis.js";
import { mul } from "./elementwise.js";
import { expand, reshape } from "./shape.js";

interface ReduceAttributes {
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

function reducedShape(shape: Shape, { axes, keepDims }: ReduceAttributes): Shape {
  return keepDims
    ? shape.map((d, i) => (axes.includes(i) ? 1 : d))
    : shape.filter((_, i) => !axes.includes(i));
}

function reduction(
  name: string,
  type: string,
  start: number,
  combine: (a: number, b: number) => number,
  finish: (total: number, count: number) => number,
  scale?: (count: number) => number,
): PrimitiveOperator {
  return definePrimitive<ReduceAttributes>({
    name,
    infer: ([x], attributes) => [{ dtype: x.dtype, shape: reducedShape(x.shape, attributes) }],
    onnx: ({ axes, keepDims }) => ({ type, attributes: { keepdims: Number(keepDims) }, constants: [axes] }),
    adjoint:
      scale &&
      (([g], { inputs: [x], attributes: { axes } }) => {
        const kept = x.shape.map((d, i) => (axes.includes(i) ? 1 : d));
        const count = scale === one ? 1 : axes.reduce((n, i) => n * x.staticShape[i], 1);
        return [expand(reshape(count === 1 ? g! : mul(g!, scale(count)), kept), x)];
      }),
    evaluate: ([x], attributes) => {
      const shape = reducedShape(x.shape, attributes) as number[];
      const out = NDArray.zeros(shape, x.dtype);
      out.data.fill(start);
      const kept = stridesOf(x.shape.map((d, i) => (attributes.axes.includes(i) ? 1 : d)));
      const strides = kept.map((s, i) => (attributes.axes.includes(i) ? 0 : s));
      forEachIndex(x.shape, [strides], (i, [o]) => {
        out.data[o] = combine(out.data[o], x.data[i]);
      });
      const count = attributes.axes.reduce((n, i) => n * x.shape[i], 1);
      for (let i = 0; i < out.data.length; i++) out.data[i] = finish(out.data[i], count);
      return [out];
    },
  });
}

const one = () => 1;
const sumOperator = reduction(
  "reduceSum",
  "ReduceSum",
  0,
  (a, b) => a + b,
  (total) => total,
  one,
);
const meanOperator = reduction(
  "reduceMean",
  "ReduceMean",
  0,
  (a, b) => a + b,
  (total, count) => total / count,
  (count) => 1 / count,
);
const maxOperator = reduction("reduceMax", "ReduceMax", -Infinity, Math.max, (total) => total);
const minOperator = reduction("reduceMin", "ReduceMin", Infinity, Math.min, (total) => total);

/** Of no axes it is x: ONNX would reduce them all. */
const call = (operator: PrimitiveOperator, x: Tensor, axes: readonly number[], keepDims: boolean): Tensor =>
  axes.length === 0 ? x : apply(operator, [x], { axes: axesOf(operator.name, x, axes), keepDims })[0];

/** Sum over `axes` (negative ones count from the end), each named once. */
export const reduceSum = (x: Tensor, axes: readonly number[], keepDims = false): Tensor =>
  call(sumOperator, x, axes, keepDims);
/** Mean over `axes`. */
export const reduceMean = (x: Tensor, axes: readonly number[], keepDims = false): Tensor =>
  call(meanOperator, x, axes, keepDims);
/** Maximum over `axes`; not differentiable here. */
export const reduceMax = (x: Tensor, axes: readonly number[], keepDims = false): Tensor =>
  call(maxOperator, x, axes, keepDims);
/** Minimum over `axes`; not differentiable here. */
export const reduceMin = (x: Tensor, axes: readonly number[], keepDims = false): Tensor =>
  call(minOperator, x, axes, keepDims);

const cumsumOperator = definePrimitive<{ axis: number; exclusive: boolean }>({
  name: "cumulativeSum",
  infer: ([x]) => [{ dtype: x.dtype, shape: x.shape }],
  onnx: ({ axis, exclusive }) => ({
    type: "CumSum",
    attributes: { exclusive: Number(exclusive) },
    constants: [[axis]],
  }),
  evaluate: ([x], { axis, exclusive }) => {
    const out = NDArray.zeros(x.shape, x.dtype);
    const stride = stridesOf(x.shape)[axis];
    const length = x.shape[axis];
    for (let i = 0; i < x.data.length; i++) {
      const k = Math.floor(i / stride) % length;
      const before = k === 0 ? 0 : out.data[i - stride] + (exclusive ? x.data[i - stride] : 0);
      out.data[i] = before + (exclusive ? 0 : x.data[i]);
    }
    return [out];
  },
});
/** Running sum along one axis; `exclusive` leaves the element itself out. Not differentiable here. */
export const cumulativeSum = (x: Tensor, axis: number, exclusive = false): Tensor =>
  apply(cumsumOperator, [x], { axis: axisOf("cumulativeSum", x, axis), exclusive })[0];
