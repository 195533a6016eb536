/**
 * @file x W^T in eight bits, for inference. Every row of x has a scale of its own, and so has every row of W:
 *
 *     x[r, k] ~ s[r] (q[r, k] - 128),   W[o, k] ~ t[o] p[o, k],   s, t = the largest absolute value of the row / 127
 *     (x W^T)[r, o] ~ s[r] t[o] sum_k (q[r, k] - 128) p[o, k]
 *
 * The sum is exact, in integers, so a row's result does not depend on the other rows (`DynamicQuantizeMatMul`, with one scale for all of
 * x, would tie a text to its batch). Unsigned x times signed W is the one pairing with a fast kernel: on a processor with VNNI 3.5
 * times float32, where unsigned by unsigned has 1.6 and `MatMulNBits` 1.0 to 1.7 (see also mean-int8.ts). Without VNNI it may overflow:
 * `int8Range`. Not differentiable.
 */
import { NDArray } from "../ndarray.js";
import { defineComposite, definePrimitive } from "../operator.js";
import { apply, constant, type Tensor } from "../tensor.js";
import { showShape } from "../types.js";
import { add, cast, maximum, mul, neg } from "./elementwise.js";
import { gather } from "./indexing.js";
import { reduceMax, reduceMin } from "./reduce.js";
import { reshape } from "./shape.js";

/** What stands for zero in q. */
const ZERO = 128;
/** The least of largest values: rows of zeros have a scale too. */
const TINY = 1e-30;

/** Rows in eight bits. */
export interface Int8Rows {
  /** uint8 [R, K] */
  readonly q: Tensor;
  /** float32 [R, 1] */
  readonly scale: Tensor;
}

/** A weight W [out, in] in eight bits, turned as the kernel wants it. Constants, which products may share, in one graph or in several. */
export interface Int8Weight {
  /** int8 [in, out] */
  readonly q: Tensor;
  /** float32 [out] */
  readonly scales: Tensor;
}

const toByte = (x: number): number => {
  const low = Math.floor(x);
  const half = x - low === 0.5;
  return Math.max(0, Math.min(255, ZERO + (half ? low + (low & 1) : Math.round(x))));
};

/** x [R, K], scale [R], zero points uint8 [R] -> uint8 [R, K]: x / scale rounded, halves to even, around the zero point. */
const quantizeOperator = definePrimitive<object>({
  name: "quantize",
  infer: ([x]) => [{ dtype: "uint8", shape: x.shape }],
  onnx: () => ({ type: "QuantizeLinear", attributes: { axis: 0 } }),
  evaluate: ([x, scale]) => [
    new NDArray(
      "uint8",
      x.shape,
      x.data.map((v, i) => toByte(v / scale.data[Math.floor(i / x.shape[1])])),
    ),
  ],
});

const quantizeRowsOperator = defineComposite<object, null>({
  name: "quantizeRows",
  infer: ([x]) => [
    { dtype: "uint8", shape: x.shape },
    { dtype: "float32", shape: [x.shape[0], 1] },
  ],
  lower: ([x]) => {
    const ends = maximum(reduceMax(x, [1], true), neg(reduceMin(x, [1], true)));
    const scale = mul(maximum(ends, TINY), 1 / 127);
    const each = reshape(scale, [x.shape[0]]);
    const zero = cast(add(mul(each, 0), ZERO), "uint8");
    return { outputs: [apply(quantizeOperator, [x, each, zero], {})[0], scale], saved: null };
  },
  evaluate: ([x]) => {
    const [rows, width] = x.shape;
    const q = NDArray.zeros(x.shape, "uint8");
    const scale = NDArray.zeros([rows, 1]);
    for (let r = 0; r < rows; r++) {
      const row = x.data.subarray(r * width, (r + 1) * width);
      scale.data[r] = row.reduce((a, v) => Math.max(a, Math.abs(v)), TINY) / 127;
      for (let k = 0; k < width; k++) q.data[r * width + k] = toByte(row[k] / scale.data[r]);
    }
    return [q, scale];
  },
});

/** x float32 [R, K], R maybe known at run time only. */
export function quantizeRows(x: Tensor): Int8Rows {
  if (x.rank !== 2) throw new Error(`quantizeRows: expected x [R, K], got ${showShape(x.shape)}`);
  const [q, scale] = apply(quantizeRowsOperator, [x], {});
  return { q, scale };
}

/** The rows that `index` int64 [n] names: the same bytes as of rows that are taken first and then rounded. */
export const takeInt8Rows = ({ q, scale }: Int8Rows, index: Tensor): Int8Rows => ({
  q: gather(q, index),
  scale: gather(scale, index),
});

/** q uint8 [R, K], p int8 [K, N], t [N] and two constants of the kernel -> t sum_k (q - 128) p, float32 [R, N] */
const productOperator = definePrimitive<object>({
  name: "productInt8",
  infer: ([q, p]) => [{ dtype: "float32", shape: [q.shape[0], p.shape[1]] }],
  // Scale 1 of q here; its rows' own come afterwards.
  onnx: () => ({ type: "MatMulIntegerToFloat", domain: "com.microsoft", places: [0, 1, 3, 2, 4] }),
  evaluate: ([q, p, scales]) => {
    const [rows, inner] = q.shape;
    const outer = p.shape[1];
    const out = NDArray.zeros([rows, outer]);
    for (let r = 0; r < rows; r++)
      for (let k = 0; k < inner; k++) {
        const own = q.data[r * inner + k] - ZERO;
        for (let o = 0; o < outer; o++) out.data[r * outer + o] += own * p.data[k * outer + o];
      }
    for (let i = 0; i < out.data.length; i++) out.data[i] *= scales.data[i % outer];
    return [out];
  },
});

/** Largest absolute value of a weight: all of eight bits, or what two products in 16 bits have room for. */
export const int8Range = { full: 127, safe: 63 } as const;

/** W [out, in], row-major. */
export function packInt8(
  weight: Float32Array,
  outer: number,
  inner: number,
  range: number = int8Range.full,
): Int8Weight {
  const q = new Int8Array(weight.length);
  const scales = new Float32Array(outer);
  for (let o = 0; o < outer; o++) {
    const row = weight.subarray(o * inner, (o + 1) * inner);
    let largest = TINY;
    for (const w of row) largest = Math.max(largest, Math.abs(w));
    scales[o] = largest / range;
    const inverse = range / largest;
    for (let k = 0; k < inner; k++) q[k * outer + o] = Math.round(row[k] * inverse);
  }
  return { q: constant(q, [inner, outer], "int8"), scales: constant(scales, [outer]) };
}

/**
 * x W^T.
 * @param x of [R, in] @param weight W [out, in], from `packInt8`
 * @returns float32 [R, out]
 */
export function linearInt8(x: Int8Rows, { q, scales }: Int8Weight): Tensor {
  if (x.q.shape[1] !== q.shape[0])
    throw new Error(`linearInt8: expected x [rows, ${q.shape[0]}], got ${showShape(x.q.shape)}`);
  const inputs = [x.q, q, scales, constant(1), constant(ZERO, [], "uint8")];
  return mul(apply(productOperator, inputs, {})[0], x.scale);
}
