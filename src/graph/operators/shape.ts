/** @file Operators that move elements without changing them: reshape, transpose, slice, concat, pad, expand, split. */
import { broadcastStrides, forEachIndex, NDArray, stridesOf } from "../ndarray.js";
import { definePrimitive } from "../operator.js";
import { apply, constant, type Tensor } from "../tensor.js";
import { type Dim, type Shape, sameShape, showShape, sizeOf } from "../types.js";
import { axisOf } from "./axis.js";
import { broadcastShape, unbroadcast } from "./broadcast.js";
import { requireSome } from "./checks.js";

const known = (shape: Shape): shape is readonly number[] => shape.every((d) => d !== null);

const reshapeOperator = definePrimitive<{ shape: Shape }>({
  name: "reshape",
  infer: ([x], { shape }) => {
    if (known(x.shape) && known(shape) && sizeOf(x.shape) !== sizeOf(shape))
      throw new Error(
        `reshape: expected ${sizeOf(x.shape)} elements of ${showShape(x.shape)}, got ${showShape(shape)}`,
      );
    if (shape.filter((d) => d === null).length > 1)
      throw new Error(`reshape: expected at most one unknown dimension, got ${showShape(shape)}`);
    return [{ dtype: x.dtype, shape }];
  },
  // Without allowzero a 0 stands for the dimension that x has there; with it there may be no -1.
  onnx: ({ shape }) => ({
    type: "Reshape",
    ...(shape.includes(0) && known(shape) ? { attributes: { allowzero: 1 } } : {}),
    constants: [shape.map((d) => d ?? -1)],
  }),
  adjoint: ([g], { inputs: [x] }) => [reshape(g!, x.shape)],
  evaluate: ([x], { shape }) => {
    const rest = sizeOf(shape.filter((d): d is number => d !== null));
    const dims = shape.map((d) => d ?? (rest === 0 ? 0 : x.data.length / rest));
    return [new NDArray(x.dtype, dims, x.data)];
  },
});
/** Same elements in the same order, other shape. One dimension may be `null` (inferred at run time). */
export const reshape = (x: Tensor, shape: Shape): Tensor =>
  sameShape(x.shape, shape) && known(shape) ? x : apply(reshapeOperator, [x], { shape })[0];

const transposeOperator = definePrimitive<{ permutation: readonly number[] }>({
  name: "transpose",
  infer: ([x], { permutation }) => {
    const sorted = [...permutation].sort((a, b) => a - b);
    if (sorted.length !== x.rank || sorted.some((p, i) => p !== i))
      throw new Error(
        `transpose: expected every axis of ${showShape(x.shape)} once, counted from 0, got [${permutation.join(", ")}]`,
      );
    return [{ dtype: x.dtype, shape: permutation.map((p) => x.shape[p]) }];
  },
  onnx: ({ permutation }) => ({ type: "Transpose", attributes: { perm: permutation } }),
  adjoint: ([g], { attributes: { permutation } }) => {
    const inverse = permutation.map((_, i) => permutation.indexOf(i));
    return [transpose(g!, inverse)];
  },
  evaluate: ([x], { permutation }) => {
    const shape = permutation.map((p) => x.shape[p]);
    const out = NDArray.zeros(shape, x.dtype);
    const strides = stridesOf(x.shape);
    forEachIndex(shape, [permutation.map((p) => strides[p])], (i, [o]) => {
      out.data[i] = x.data[o];
    });
    return [out];
  },
});
/** Axis i of the result is axis permutation[i] of x. */
export const transpose = (x: Tensor, permutation: readonly number[]): Tensor =>
  apply(transposeOperator, [x], { permutation })[0];

interface SliceAttributes {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
}
const sliceOperator = definePrimitive<SliceAttributes>({
  name: "slice",
  infer: ([x], { axis, start, end }) => {
    const length = x.shape[axis];
    const integers = Number.isInteger(start) && Number.isInteger(end);
    if (!integers || start < 0 || end < start || (length !== null && end > length))
      throw new Error(
        `slice: expected integers 0 <= start <= end <= ${length ?? "?"}, got ${start}:${end} on axis ${axis} of ${showShape(x.shape)}`,
      );
    return [{ dtype: x.dtype, shape: x.shape.map((d, i) => (i === axis ? end - start : d)) }];
  },
  onnx: ({ axis, start, end }) => ({ type: "Slice", constants: [[start], [end], [axis]] }),
  adjoint: ([g], { inputs: [x], attributes: { axis, start, end } }) => [
    pad(g!, axis, start, x.staticShape[axis] - end),
  ],
  evaluate: ([x], { axis, start, end }) => {
    const shape = x.shape.map((d, i) => (i === axis ? end - start : d));
    const out = NDArray.zeros(shape, x.dtype);
    const strides = stridesOf(x.shape);
    forEachIndex(shape, [strides], (i, [o]) => {
      out.data[i] = x.data[o + start * strides[axis]];
    });
    return [out];
  },
});
/** Elements start..end-1 along one axis. */
export const slice = (x: Tensor, axis: number, start: number, end: number): Tensor => {
  const along = axisOf("slice", x, axis);
  return start === 0 && end === x.shape[along]
    ? x
    : apply(sliceOperator, [x], { axis: along, start, end })[0];
};

const padOperator = definePrimitive<{ axis: number; before: number; after: number }>({
  name: "pad",
  infer: ([x], { axis, before, after }) => {
    if (![before, after].every((size) => Number.isInteger(size) && size >= 0))
      throw new Error(
        `pad: expected integers from 0 on, got ${before} before and ${after} after axis ${axis} of ${showShape(x.shape)}`,
      );
    const shape = x.shape.map((d, i) => (i === axis && d !== null ? d + before + after : d));
    return [{ dtype: x.dtype, shape }];
  },
  onnx: ({ axis, before, after }, [x]) => {
    const pads = new Array<number>(2 * x.rank).fill(0);
    pads[axis] = before;
    pads[x.rank + axis] = after;
    return { type: "Pad", constants: [pads] };
  },
  adjoint: ([g], { inputs: [x], attributes: { axis, before } }) => [
    slice(g!, axis, before, before + x.staticShape[axis]),
  ],
  evaluate: ([x], { axis, before, after }) => {
    const shape = x.shape.map((d, i) => (i === axis ? d + before + after : d));
    const out = NDArray.zeros(shape, x.dtype);
    const strides = stridesOf(shape);
    forEachIndex(x.shape, [strides], (i, [o]) => {
      out.data[o + before * strides[axis]] = x.data[i];
    });
    return [out];
  },
});
/** Zeros before and after along one axis. */
export const pad = (x: Tensor, axis: number, before: number, after: number): Tensor =>
  before === 0 && after === 0
    ? x
    : apply(padOperator, [x], { axis: axisOf("pad", x, axis), before, after })[0];

const concatOperator = definePrimitive<{ axis: number }>({
  name: "concat",
  infer: (inputs, { axis }) => {
    const [first] = inputs;
    let total: Dim = 0;
    for (const x of inputs) {
      const fits = x.rank === first.rank && x.dtype === first.dtype;
      if (
        !fits ||
        x.shape.some((d, i) => i !== axis && d !== first.shape[i] && d !== null && first.shape[i] !== null)
      )
        throw new Error(
          `concat: expected equal shapes but for axis ${axis}, got ${inputs.map((t) => `${t.dtype}${showShape(t.shape)}`).join(", ")}`,
        );
      total = total === null || x.shape[axis] === null ? null : total + x.shape[axis];
    }
    return [{ dtype: first.dtype, shape: first.shape.map((d, i) => (i === axis ? total : d)) }];
  },
  onnx: ({ axis }) => ({ type: "Concat", attributes: { axis } }),
  adjoint: ([g], { inputs, attributes: { axis } }) => {
    let start = 0;
    return inputs.map((x) => {
      const length = x.staticShape[axis];
      start += length;
      return slice(g!, axis, start - length, start);
    });
  },
  evaluate: (inputs, { axis }) => {
    const total = inputs.reduce((n, x) => n + x.shape[axis], 0);
    const shape = inputs[0].shape.map((d, i) => (i === axis ? total : d));
    const out = NDArray.zeros(shape, inputs[0].dtype);
    const strides = stridesOf(shape);
    let start = 0;
    for (const x of inputs) {
      forEachIndex(x.shape, [strides], (i, [o]) => {
        out.data[o + start * strides[axis]] = x.data[i];
      });
      start += x.shape[axis];
    }
    return [out];
  },
});
/** Joins tensors along an axis. */
export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  requireSome("concat", tensors);
  return tensors.length === 1
    ? tensors[0]
    : apply(concatOperator, tensors, { axis: axisOf("concat", tensors[0], axis) })[0];
}

const expandOperator = definePrimitive<{ shape: readonly number[] }>({
  name: "expand",
  infer: ([x], { shape }) => {
    if (!sameShape(broadcastShape("expand", x.shape, shape), shape))
      throw new Error(
        `expand: expected a shape that ${showShape(x.shape)} stretches to, got ${showShape(shape)}`,
      );
    return [{ dtype: x.dtype, shape }];
  },
  onnx: ({ shape }) => ({ type: "Expand", constants: [shape] }),
  adjoint: ([g], { inputs: [x] }) => [unbroadcast(g!, x.shape)],
  evaluate: ([x], { shape }) => {
    const out = NDArray.zeros(shape, x.dtype);
    forEachIndex(shape, [broadcastStrides(x.shape, shape)], (i, [o]) => {
      out.data[i] = x.data[o];
    });
    return [out];
  },
});
/** Broadcasts to a shape, or to the (known) shape of another tensor. */
export function expand(x: Tensor, target: readonly number[] | Tensor): Tensor {
  const shape = "staticShape" in target ? (target as Tensor).staticShape : (target as readonly number[]);
  return sameShape(x.shape, shape) ? x : apply(expandOperator, [x], { shape })[0];
}

/** A tensor of zeros; large ones cost nothing in the model file. */
export const zeros = (shape: readonly number[], dtype: "float32" | "int64" = "float32"): Tensor =>
  expand(constant(0, [], dtype), shape);

const splitOperator = definePrimitive<{ axis: number; parts: number }>({
  name: "splitByCounts",
  infer: ([x, counts], { axis, parts }) => {
    if (counts.dtype !== "int64" || counts.shape[0] !== parts)
      throw new Error(
        `splitByCounts: expected int64 counts of shape [${parts}], got ${counts.dtype}${showShape(counts.shape)}`,
      );
    return Array.from({ length: parts }, () => ({
      dtype: x.dtype,
      shape: x.shape.map((d, i) => (i === axis ? null : d)),
    }));
  },
  onnx: ({ axis }) => ({ type: "Split", attributes: { axis } }),
  evaluate: ([x, counts], { axis }) => {
    const strides = stridesOf(x.shape);
    let start = 0;
    return Array.from(counts.data, (count) => {
      const shape = x.shape.map((d, i) => (i === axis ? count : d));
      const out = NDArray.zeros(shape, x.dtype);
      forEachIndex(shape, [strides], (i, [o]) => {
        out.data[i] = x.data[o + start * strides[axis]];
      });
      start += count;
      return out;
    });
  },
});
/** Cuts x along an axis into `parts` pieces whose lengths (counts, int64 [parts], summing to the axis) are known at run time only. Not differentiable. */
export const splitByCounts = (x: Tensor, counts: Tensor, axis: number, parts: number): readonly Tensor[] =>
  apply(splitOperator, [x, counts], { axis: axisOf("splitByCounts", x, axis), parts });
