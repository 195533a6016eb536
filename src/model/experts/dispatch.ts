/**
 * @file The plan that brings tokens to experts and back without a scatter: slots (token, choice) sorted by expert.
 *
 * Slot s = token * K + choice. Sorting the keys expert * S + s gives `order`; `Split` by the counts hands every expert its list of
 * tokens, and the inverse permutation tells each slot where its result stands. Moving rows is then `Gather` in both directions, whose
 * adjoint is again a `Gather` (by the other permutation). Slots without expert sort last, and are pointed at a row of zeros.
 */
import {
  add,
  cast,
  concat,
  constant,
  div,
  equal,
  gather,
  minimum,
  mul,
  reduceSum,
  reshape,
  scatterElements,
  slice,
  splitByCounts,
  sub,
  type Tensor,
  topK,
  zeros,
} from "../../graph/index.js";

export interface Dispatch {
  /** int64 [n_e] for each expert e: its tokens, in order. n_e is known at run time only and may be 0. */
  readonly tokens: readonly Tensor[];
  /** int64 [T, K]: row of each slot among the experts' rows joined in order and followed by one row of zeros. */
  readonly place: Tensor;
  /** int64 [S]: slots sorted by expert. */
  readonly order: Tensor;
  /** int64 [E + 1]: slots of each expert, and without one. */
  readonly counts: Tensor;
}

/** experts int64 [T, K], values in [0, numExperts]; numExperts means "no expert". */
export function planDispatch(experts: Tensor, numExperts: number): Dispatch {
  const [tokens, columns] = experts.staticShape;
  const slots = tokens * columns;
  const slot = constant(
    Array.from({ length: slots }, (_, i) => i),
    [slots],
    "int64",
  );
  const flat = reshape(experts, [slots]);
  const order = topK(add(mul(flat, slots), slot), slots, false).indices;
  const each = constant(
    Array.from({ length: numExperts + 1 }, (_, e) => e),
    [1, numExperts + 1],
    "int64",
  );
  const hits = cast(equal(reshape(flat, [slots, 1]), each), "float32");
  const counts = cast(reduceSum(hits, [0]), "int64");
  const active = sub(slots, slice(counts, 0, numExperts, numExperts + 1));
  const inverse = scatterElements(zeros([slots], "int64"), order, slot, 0);
  return {
    tokens: splitByCounts(div(order, columns), counts, 0, numExperts + 1).slice(0, numExperts),
    place: reshape(minimum(inverse, active), [tokens, columns]),
    order,
    counts,
  };
}

/** One value a slot, float32 [T, K], handed to the experts as columns [n_e, 1]. */
export function toExperts(values: Tensor, { order, counts, tokens }: Dispatch): readonly Tensor[] {
  const sorted = gather(reshape(values, [order.staticShape[0], 1]), order);
  return splitByCounts(sorted, counts, 0, tokens.length + 1).slice(0, tokens.length);
}

/** Rows of the experts, float32 [n_e, D] each, brought back to their slots: [T, K, D], zeros where there is no expert. */
export function fromExperts(rows: readonly Tensor[], { place }: Dispatch): Tensor {
  const width = rows[0].shape[1]!;
  return gather(concat([...rows, zeros([1, width])], 0), place);
}
