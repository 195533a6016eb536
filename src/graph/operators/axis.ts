/** @file Which axes are meant by numbers. */
import type { Tensor } from "../tensor.js";
import { showShape } from "../types.js";

/** The axis of x as a number from 0 on; negative ones count from the end. `name` of the operator, for the message. */
export function axisOf(name: string, x: Tensor, axis: number): number {
  const found = axis < 0 ? axis + x.rank : axis;
  if (!(Number.isInteger(found) && found >= 0 && found < x.rank))
    throw new Error(
      `${name}: expected an axis from ${-x.rank} to ${x.rank - 1} of ${showShape(x.shape)}, got ${axis}`,
    );
  return found;
}

/** The axes of x, each named once. */
export function axesOf(name: string, x: Tensor, axes: readonly number[]): number[] {
  const found = axes.map((axis) => axisOf(name, x, axis));
  if (new Set(found).size < found.length)
    throw new Error(
      `${name}: expected every axis of ${showShape(x.shape)} at most once, got [${axes.join(", ")}]`,
    );
  return found;
}
