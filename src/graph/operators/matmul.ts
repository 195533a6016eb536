/** @file Matrix products: batched `matmul` with transposition and scale folded in, and `linear` (x W^T + b). */
import { broadcastStrides, forEachIndex, NDArray } from "../ndarray.js";
import { definePrimitive, type PrimitiveOperator } from "../operator.js";
import { apply, constant, type Tensor } from "../tensor.js";
import { type Shape, showShape, sizeOf } from "../types.js";
import { broadcastShape, unbroadcast } from "./broadcast.js";
import { requireDtype } from "./checks.js";
import { mul } from "./elementwise.js";
import { reduceSum } from "./reduce.js";
import { reshape, transpose } from "./shape.js";

interface MatmulAttributes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly scale: number;
}

function productShape(name: string, a: Shape, b: Shape, transposeA: boolean, transposeB: boolean): Shape {
  const [m, ka] = transposeA ? [a.at(-1), a.at(-2)] : [a.at(-2), a.at(-1)];
  const [kb, n] = transposeB ? [b.at(-1), b.at(-2)] : [b.at(-2), b.at(-1)];
  if (a.length < 2 || b.length < 2 || (ka !== kb && ka !== null && kb !== null))
    throw new Error(
      `${name}: expected inner dimensions to agree, got ${showShape(a)}${transposeA ? "^T" : ""} x ${showShape(b)}${transposeB ? "^T" : ""}`,
    );
  return [...broadcastShape(name, a.slice(0, -2), b.slice(0, -2)), m!, n!];
}

const matmulOperator: PrimitiveOperator = definePrimitive<MatmulAttributes>({
  name: "matmul",
  infer: ([a, b], { transposeA, transposeB }) => {
    for (const x of [a, b]) requireDtype("matmul", x, "float32");
    return [{ dtype: a.dtype, shape: productShape("matmul", a.shape, b.shape, transposeA, transposeB) }];
  },
  onnx: ({ transposeA, transposeB, scale }) =>
    !transposeA && !transposeB && scale === 1
      ? { type: "MatMul" }
      : {
          type: "FusedMatMul",
          domain: "com.microsoft",
          attributes: { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: scale } },
        },
  legalize: ([a, b], { transposeA, transposeB, scale }, { transposedProducts }) => {
    if (transposedProducts || (!transposeA && !transposeB && scale === 1)) return null;
    const product =
      a.rank === 2 && b.rank === 2
        ? apply(gemmOperator, [a, b], { transposeA, transposeB })[0]
        : matmul(transposeA ? transposedMatrices(a) : a, transposeB ? transposedMatrices(b) : b);
    return [scale === 1 ? product : mul(product, scale)];
  },
  adjoint: ([g], { inputs: [a, b], attributes: { transposeA, transposeB, scale }, needed }) => {
    const da =
      needed[0] &&
      (transposeA
        ? matmul(b, g!, { transposeA: transposeB, transposeB: true, scale })
        : matmul(g!, b, { transposeB: !transposeB, scale }));
    const db =
      needed[1] &&
      (transposeB
        ? matmul(g!, a, { transposeA: true, transposeB: transposeA, scale })
        : matmul(a, g!, { transposeA: !transposeA, scale }));
    return [da ? unbroadcast(da, a.shape) : null, db ? unbroadcast(db, b.shape) : null];
  },
  evaluate: ([a, b], { transposeA, transposeB, scale }) => {
    const shape = productShape("matmul", a.shape, b.shape, transposeA, transposeB) as number[];
    const out = NDArray.zeros(shape);
    const [m, n] = shape.slice(-2);
    const k = transposeA ? a.shape.at(-2)! : a.shape.at(-1)!;
    const [am, ak] = transposeA ? [1, m] : [k, 1];
    const [bk, bn] = transposeB ? [1, k] : [n, 1];
    const batch = shape.slice(0, -2);
    const strides = [a, b].map((x) => {
      const matrix = x.shape.at(-1)! * x.shape.at(-2)!;
      return broadcastStrides(x.shape.slice(0, -2), batch).map((s) => s * matrix);
    });
    forEachIndex(batch, strides, (index, [oa, ob]) => {
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let l = 0; l < k; l++) sum += a.data[oa + i * am + l * ak] * b.data[ob + l * bk + j * bn];
          out.data[(index * m + i) * n + j] = sum * scale;
        }
    });
    return [out];
  },
});

const transposedMatrices = (x: Tensor): Tensor => {
  const axes = x.shape.map((_, i) => i);
  return transpose(x, [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!]);
};

/** scale * op(a) op(b) over the last two axes; leading axes broadcast. a [..., m, k], b [..., k, n] -> [..., m, n]. */
export const matmul = (a: Tensor, b: Tensor, options: Partial<MatmulAttributes> = {}): Tensor =>
  apply(matmulOperator, [a, b], { transposeA: false, transposeB: false, scale: 1, ...options })[0];

/** Whether a shape broadcasts to the other without stretching that one; unknown dimensions match any. */
function stretchesTo(shape: Shape, to: Shape): boolean {
  const aligned = to.slice(Math.max(0, to.length - shape.length));
  return (
    shape.length <= to.length &&
    shape.every((d, i) => d === 1 || d === null || aligned[i] === null || d === aligned[i])
  );
}

/** The third input, which is added, may be left out. */
const gemmOperator: PrimitiveOperator = definePrimitive<{ transposeA: boolean; transposeB: boolean }>({
  name: "gemm",
  infer: ([a, b, c], { transposeA, transposeB }) => {
    for (const x of c ? [a, b, c] : [a, b]) requireDtype("gemm", x, "float32");
    if (a.rank !== 2 || b.rank !== 2)
      throw new Error(`gemm: expected matrices, got ${showShape(a.shape)} and ${showShape(b.shape)}`);
    const shape = productShape("gemm", a.shape, b.shape, transposeA, transposeB);
    if (c && !stretchesTo(c.shape, shape))
      throw new Error(`gemm: expected c to broadcast to ${showShape(shape)}, got ${showShape(c.shape)}`);
    return [{ dtype: a.dtype, shape }];
  },
  onnx: ({ transposeA, transposeB }) => ({
    type: "Gemm",
    attributes: { transA: Number(transposeA), transB: Number(transposeB) },
  }),
  adjoint: ([g], { inputs: [a, b, c], attributes: { transposeA, transposeB }, needed }) => {
    const da =
      needed[0] &&
      (transposeA
        ? matmul(b, g!, { transposeA: transposeB, transposeB: true })
        : matmul(g!, b, { transposeB: !transposeB }));
    const db =
      needed[1] &&
      (transposeB
        ? matmul(g!, a, { transposeA: true, transposeB: transposeA })
        : matmul(a, g!, { transposeA: !transposeA }));
    return [da || null, db || null, ...(c ? [needed[2] ? unbroadcast(g!, c.shape) : null] : [])];
  },
  evaluate: ([a, b, c], attributes) => {
    const [product] = matmulOperator.evaluate([a, b], { ...attributes, scale: 1 });
    if (!c) return [product];
    forEachIndex(product.shape, [broadcastStrides(c.shape, product.shape)], (i, [o]) => {
      product.data[i] += c.data[o];
    });
    return [product];
  },
});

/** op(a) op(b) + c for matrices; c broadcasts ([n], [m, n] or scalar). */
export const gemm = (
  a: Tensor,
  b: Tensor,
  c: Tensor,
  options: { transposeA?: boolean; transposeB?: boolean } = {},
): Tensor => apply(gemmOperator, [a, b, c], { transposeA: false, transposeB: false, ...options })[0];

/** x W^T + b. x [rows, in], weight [out, in] (as in PyTorch and safetensors files), bias [out] or none -> [rows, out]. */
export const linear = (x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor =>
  bias ? gemm(x, weight, bias, { transposeB: true }) : matmul(x, weight, { transposeB: true });

/**
 * sum_t weights_t x_t over the rows of x [n, ...], weights [n, 1] (all 1 when left out; then n must be known) -> [...].
 * A row of weights times a matrix: ReduceSum over the leading axis takes two to three times as long.
 */
export function sumRows(x: Tensor, weights: Tensor | null = null): Tensor {
  const [rows, ...rest] = x.shape;
  const width = sizeOf(rest as number[]);
  const row = weights ? reshape(weights, [1, rows]) : constant(new Float32Array(rows!).fill(1), [1, rows!]);
  return reshape(matmul(row, reshape(x, [rows, width])), rest);
}

/** Inner product over the last axis, kept as a dimension of 1. */
export const rowDot = (a: Tensor, b: Tensor): Tensor => reduceSum(mul(a, b), [-1], true);
