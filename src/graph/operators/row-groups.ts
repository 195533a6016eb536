/**
 * @file Rows sorted into groups and brought back without a scatter: tokens to their experts, positions to chunks of work.
 *
 * A row stands in K groups at most, so there are S = T * K slots; slot s = row * K + choice. Sorting the keys group * S + s gives
 * `order`; `Split` by the counts hands every group its list of rows, and the inverse permutation tells each slot where its result
 * stands. Moving rows is then `Gather` in both directions, whose adjoint is again a `Gather` (by the other permutation). Slots without
 * a group sort last, and are pointed at a row of zeros.
 */
import { constant, type Tensor } from "../tensor.js";
import { add, cast, div, equal, maximum, minimum, mul, sub, where } from "./elementwise.js";
import { gather, scatterElements, topK } from "./indexing.js";
import { cumulativeSum, reduceSum } from "./reduce.js";
import { concat, reshape, slice, splitByCounts, zeros } from "./shape.js";

export interface RowGroups {
  /** int64 [n_g] for each group g: its rows, in order. n_g is known at run time only and may be 0. */
  readonly rows: readonly Tensor[];
  /** int64 [T, K]: row of each slot among the groups' rows joined in order and followed by one row of zeros. */
  readonly place: Tensor;
  /** int64 [S]: slots sorted by group. */
  readonly order: Tensor;
  /** int64 [G + 1]: slots of each group, and without one. */
  readonly counts: Tensor;
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Numbers int64 [n], each as a sum of `pieces`: equal ones, then what is left, then zeros: [n * pieces]. */
function inPieces(numbers: Tensor, pieces: number): Tensor {
  const [count] = numbers.staticShape;
  const whole = reshape(numbers, [count, 1]);
  const largest = div(add(whole, pieces - 1), pieces);
  const left = sub(whole, mul(largest, constant(upTo(pieces), [1, pieces], "int64")));
  return reshape(maximum(minimum(left, largest), 0), [count * pieces]);
}

/**
 * groups int64 [T, K], values in [0, numGroups]; numGroups means "no group".
 * `pieces`: each group is cut into so many of equal length, which are groups of their own from here on: those of group g are
 * g * pieces and the following.
 */
export function groupRows(groups: Tensor, numGroups: number, pieces = 1): RowGroups {
  const [rows, columns] = groups.staticShape;
  const slots = rows * columns;
  const each = constant(upTo(numGroups + 1), [1, numGroups + 1], "int64");
  const hits = cast(equal(reshape(groups, [slots, 1]), each), "float32");
  const found = cast(reduceSum(hits, [0]), "int64");
  const without = slice(found, 0, numGroups, numGroups + 1);
  const counts = pieces > 1 ? concat([inPieces(slice(found, 0, 0, numGroups), pieces), without], 0) : found;
  return sortRows(groups, counts);
}

/** groups int64 [T, K] as for `groupRows`; counts int64 [G + 1]: slots that each group has, and slots without one. */
function sortRows(groups: Tensor, counts: Tensor): RowGroups {
  const [rows, columns] = groups.staticShape;
  const [parts] = counts.staticShape;
  const slots = rows * columns;
  const slot = constant(upTo(slots), [slots], "int64");
  const order = topK(add(mul(reshape(groups, [slots]), slots), slot), slots, false).indices;
  const active = sub(slots, slice(counts, 0, parts - 1, parts));
  const inverse = scatterElements(zeros([slots], "int64"), order, slot, 0);
  return {
    rows: splitByCounts(div(order, columns), counts, 0, parts).slice(0, -1),
    place: reshape(minimum(inverse, active), [rows, columns]),
    order,
    counts,
  };
}

/**
 * Groups of `size` rows each (the last may be short, those behind it are empty) of the rows where `wanted` bool [T] is true. All but one
 * are full or empty, so nothing is counted: chunk k has what is left of the wanted rows behind k * size, and memory grows with T alone.
 */
export function chunksWhere(wanted: Tensor, size: number): RowGroups {
  const [rows] = wanted.staticShape;
  const chunks = Math.ceil(rows / size);
  const ones = cast(wanted, "int64");
  const before = cumulativeSum(ones, 0, true);
  const total = reduceSum(ones, [0], true);
  const starts = upTo(chunks).map((k) => k * size);
  const left = maximum(minimum(sub(total, constant(starts, [chunks], "int64")), size), 0);
  const groups = reshape(where(wanted, div(before, size), chunks), [rows, 1]);
  return sortRows(groups, concat([left, sub(rows, total)], 0));
}

/** One value a slot, float32 [T, K], handed to the groups as columns [n_g, 1]. */
export function toGroups(values: Tensor, { order, counts, rows }: RowGroups): readonly Tensor[] {
  const sorted = gather(reshape(values, [order.staticShape[0], 1]), order);
  return splitByCounts(sorted, counts, 0, rows.length + 1).slice(0, -1);
}

/** A column of ones [n_g, 1] for each group: what `sumRows` adds up rows of unknown number with. */
export function onesOfGroups({ order, counts, rows }: RowGroups): readonly Tensor[] {
  const slots = order.staticShape[0];
  const ones = constant(new Float32Array(slots).fill(1), [slots, 1]);
  return splitByCounts(ones, counts, 0, rows.length + 1).slice(0, -1);
}

/** Rows of the groups, float32 [n_g, D] each, brought back to their slots: [T, K, D], zeros where there is no group. */
export function fromGroups(parts: readonly Tensor[], { place }: RowGroups): Tensor {
  const width = parts[0].shape[1]!;
  return gather(concat([...parts, zeros([1, width])], 0), place);
}
