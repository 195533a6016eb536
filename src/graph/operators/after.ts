/**
 * @file `after`: a value that is there only once others are, so that what is computed from it is computed then and not before.
 *
 * ONNX Runtime merges equal nodes and visits nodes depth first; both may keep large values alive far longer than need be. The result
 * is where(never, 0, x): `never` is false whatever the others hold, but only their values say so, so nothing can be merged or moved.
 */
import { constant, type Tensor } from "../tensor.js";
import { sizeOf } from "../types.js";
import { requireSome } from "./checks.js";
import { add, less, where } from "./elementwise.js";
import { reduceSum } from "./reduce.js";
import { reshape, slice } from "./shape.js";

/** One number of x, or where there may be none its sum: float32 []. */
function sample(x: Tensor): Tensor {
  if (x.shape.some((d) => d === null || d === 0))
    return reduceSum(
      x,
      x.shape.map((_, axis) => axis),
    );
  return reshape(slice(reshape(x, [sizeOf(x.staticShape)]), 0, 0, 1), []);
}

/**
 * x itself, equal to the bit, but not before the others are computed. Costs a copy of x.
 * @param x any dtype, any shape
 * @param others float32, at least one
 */
export function after(x: Tensor, others: readonly Tensor[]): Tensor {
  requireSome("after", others, "other tensor");
  const sum = others.map(sample).reduce((a, b) => add(a, b));
  return where(less(sum, Number.NEGATIVE_INFINITY), constant(0, [], x.dtype), x);
}
