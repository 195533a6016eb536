/** @file What shape rules ask of an operator's inputs: element types and shapes, and what is said where they are others. */
import type { Tensor } from "../tensor.js";
import { type DType, type Shape, showShape } from "../types.js";

/** @throws Error unless x has the element type */
export function requireDtype(name: string, x: Tensor, dtype: DType): void {
  if (x.dtype !== dtype) throw new Error(`${name}: expected ${dtype}, got ${x.dtype}; use cast`);
}

/** @throws Error when x holds truth values, not numbers */
export function requireNumbers(name: string, x: Tensor): void {
  if (x.dtype === "bool") throw new Error(`${name}: expected numbers, got bool; use cast`);
}

/**
 * An unknown dimension, expected or found, matches any.
 * @param what x is to the operator
 * @throws Error unless x has the element type and the shape
 */
export function requireTensor(name: string, what: string, x: Tensor, dtype: DType, shape: Shape): void {
  const fits =
    x.rank === shape.length && x.shape.every((d, i) => d === null || shape[i] === null || d === shape[i]);
  if (x.dtype !== dtype || !fits)
    throw new Error(
      `${name}: expected ${what} to be ${dtype}${showShape(shape)}, got ${x.dtype}${showShape(x.shape)}`,
    );
}

/** @throws Error when there is none */
export function requireSome(name: string, things: readonly unknown[], what = "tensor"): void {
  if (things.length === 0) throw new Error(`${name}: expected at least one ${what}, got none`);
}
