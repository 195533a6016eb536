/** @file What the parts of attention share: heads, blocks of positions, and one softmax over arranged operands with its adjoint. */
import {
  add,
  constant,
  gather,
  matmul,
  mul,
  pad,
  reshape,
  rowDot,
  slice,
  softmax,
  sub,
  type Tensor,
  transpose,
} from "../../graph/index.js";
import type { BlockPlan } from "./pattern.js";

export interface HeadShape {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly headSize: number;
}

export interface BlockShape extends HeadShape {
  readonly plan: BlockPlan;
  /** Global slots a row; 0: none. */
  readonly globals: number;
}

/** [B*rows, H*d] -> [B, H, rows, d] */
export const splitHeads = (x: Tensor, { batch, heads, headSize }: HeadShape, rows: number): Tensor =>
  transpose(reshape(x, [batch, rows, heads, headSize]), [0, 2, 1, 3]);
/** [B, H, rows, d] -> [B*rows, H*d] */
export const mergeHeads = (x: Tensor, { batch, heads, headSize }: HeadShape, rows: number): Tensor =>
  reshape(transpose(x, [0, 2, 1, 3]), [batch * rows, heads * headSize]);

/** One softmax attention over already arranged operands [..., rows, d], [..., keys, d], and its adjoint. */
export interface Core {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly p: Tensor;
  readonly out: Tensor;
}
export function core(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: number): Core {
  const p = softmax(add(matmul(q, k, { transposeB: true, scale }), mask));
  return { q, k, v, p, out: matmul(p, v) };
}
export function coreAdjoint({ q, k, v, p, out }: Core, g: Tensor, scale: number): [Tensor, Tensor, Tensor] {
  const dv = matmul(p, g, { transposeA: true });
  const dp = matmul(g, v, { transposeB: true });
  const ds = mul(p, sub(dp, rowDot(g, out)));
  return [matmul(ds, k, { scale }), matmul(ds, q, { transposeA: true, scale }), dv];
}

/** [B, H, N, d] -> [B, H, padded, d] in the plan's order. */
export function arrange(x: Tensor, { length, plan }: BlockShape): Tensor {
  if (plan.dilation === 1) return pad(x, 2, 0, plan.padded - length);
  const padded = pad(x, 2, 0, 1); // position `length`: the zeros behind the end
  const places = Array.from(plan.order, (p) => (p < 0 ? length : p));
  return gather(padded, constant(places, [plan.padded], "int64"), 2);
}

/** The inverse of `arrange`: [B, H, padded, d] -> [B, H, N, d]. */
export function disarrange(x: Tensor, { length, plan }: BlockShape): Tensor {
  if (plan.dilation === 1) return slice(x, 2, 0, length);
  const places = new Array<number>(length);
  for (const [place, position] of plan.order.entries()) if (position >= 0) places[position] = place;
  return gather(x, constant(places, [length], "int64"), 2);
}
