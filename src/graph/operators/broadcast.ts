/** @file Broadcasting in the NumPy sense: shapes of results, and its adjoint (sum over what was stretched). */
import type { Tensor } from "../tensor.js";
import { type Dim, type Shape, sameShape, showShape, sizeOf } from "../types.js";
import { sumRows } from "./matmul.js";
import { reduceSum } from "./reduce.js";
import { reshape } from "./shape.js";

/** Shape of an elementwise result of two shapes; unknown dimensions match anything but 1. */
export function broadcastShape(name: string, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  const out: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    const x = i < rank - a.length ? 1 : a[i - (rank - a.length)];
    const y = i < rank - b.length ? 1 : b[i - (rank - b.length)];
    if (x !== y && x !== 1 && y !== 1 && x !== null && y !== null)
      throw new Error(`${name}: expected shapes that broadcast, got ${showShape(a)} and ${showShape(b)}`);
    out.push(x === 1 ? y : y === 1 ? x : (x ?? y));
  }
  return out;
}

/** Sums `gradient` over the axes along which `shape` was stretched, so that it has `shape` again. */
export function unbroadcast(gradient: Tensor, shape: Shape): Tensor {
  if (sameShape(gradient.shape, shape)) return gradient;
  const offset = gradient.rank - shape.length;
  const axes = gradient.shape
    .map((_, i) => i)
    .filter((i) => i < offset || (shape[i - offset] === 1 && gradient.shape[i] !== 1));
  const known = gradient.shape.every((d) => d !== null);
  if (known && gradient.dtype === "float32" && axes.length > 0 && axes.length === offset)
    return sumRows(reshape(gradient, [sizeOf(gradient.staticShape.slice(0, offset)), ...shape]));
  const summed = axes.length > 0 ? reduceSum(gradient, axes, false) : gradient;
  return sameShape(summed.shape, shape) ? summed : reshape(summed, shape);
}
