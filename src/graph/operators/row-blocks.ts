/**
 * @file Rows sorted into groups of padded blocks, for targets that want every size known in advance (see row-groups.ts for the others).
 *
 * A group takes as many blocks of `size` places as its rows need; the places left over, and the blocks that no group needs, stand for no
 * row. Whatever the groups, ceil(S / size) + G - 1 blocks hold all S slots. A slot's place is the start of its group's blocks plus the
 * number of slots of the group before it: sums over [S, G] instead of a sort. All of it is arithmetic on int64, which ONNX Runtime keeps
 * on the processor: one set of indices goes to the graphics card, and nothing comes back in between.
 */
import { constant, type Tensor } from "../tensor.js";
import { add, cast, div, equal, greaterOrEqual, less, minimum, mul, sub, where } from "./elementwise.js";
import { gather, scatterElements } from "./indexing.js";
import { cumulativeSum, reduceSum } from "./reduce.js";
import { concat, reshape, slice, zeros } from "./shape.js";

export interface RowBlocks {
  /** Blocks, of all groups. */
  readonly count: number;
  /** Places of a block. */
  readonly size: number;
  /** int64 [count]: the group that each block belongs to; any group for a block without rows. */
  readonly group: Tensor;
  /** int64 [count * size]: the slot at each place, S where there is none. Slot s = row * K + choice. */
  readonly slot: Tensor;
  /** int64 [T, K]: the place of each slot, count * size for one without a group. */
  readonly place: Tensor;
  /** Slots of a row: K. */
  readonly columns: number;
}

/** A quarter of an even share, in eights: with many slots a fifth of all places are empty. */
const blockSize = (slots: number, numGroups: number): number =>
  8 * Math.max(1, Math.ceil(slots / (4 * numGroups) / 8));

const upTo = (count: number): Tensor =>
  constant(
    Array.from({ length: count }, (_, i) => i),
    [count],
    "int64",
  );

/** bool -> int64. `Cast` from bool would run on the graphics card, between two operators that do not. */
const ones = (x: Tensor): Tensor => where(x, constant(1, [], "int64"), constant(0, [], "int64"));

/** groups int64 [T, K], values in [0, numGroups]; numGroups means "no group". size: places of a block; default: see `blockSize`. */
export function blockRows(
  groups: Tensor,
  numGroups: number,
  size = blockSize(groups.staticShape[0] * groups.staticShape[1], numGroups),
): RowBlocks {
  const [rows, columns] = groups.staticShape;
  const slots = rows * columns;
  const count = Math.ceil(slots / size) + numGroups - 1;
  const of = reshape(groups, [slots, 1]);
  const hits = ones(equal(of, reshape(upTo(numGroups), [1, numGroups]))); // [S, G]
  const before = cumulativeSum(hits, 0, true);
  const needed = div(add(reduceSum(hits, [0]), size - 1), size); // [G]: blocks
  const end = cumulativeSum(needed, 0);
  const start = reshape(mul(sub(end, needed), size), [1, numGroups]);
  const own = reduceSum(mul(hits, add(before, start)), [1]);
  const flat = where(less(reshape(of, [slots]), numGroups), own, count * size);
  const passed = ones(greaterOrEqual(reshape(upTo(count), [count, 1]), reshape(end, [1, numGroups])));
  // The slots without a group all write to the place behind the last, which is cut off.
  const places = add(zeros([count * size + 1], "int64"), slots);
  return {
    count,
    size,
    columns,
    group: minimum(reduceSum(passed, [1]), numGroups - 1),
    slot: slice(scatterElements(places, flat, upTo(slots), 0), 0, 0, count * size),
    place: reshape(flat, [rows, columns]),
  };
}

const withZeroRow = (x: Tensor): Tensor => concat([x, zeros([1, x.staticShape[1]])], 0);

/** Rows of x [T, D] brought to their places: [count, size, D], zeros where there is none. */
export function toBlocks(x: Tensor, { slot, columns, count, size }: RowBlocks): Tensor {
  const rows = gather(withZeroRow(x), columns === 1 ? slot : div(slot, columns));
  return reshape(rows, [count, size, x.staticShape[1]]);
}

/** One value a slot, [T, K], brought to its place: [count, size, 1], zeros where there is none. */
export function valuesToBlocks(values: Tensor, { slot, count, size }: RowBlocks): Tensor {
  const [rows, columns] = values.staticShape;
  return reshape(gather(withZeroRow(reshape(values, [rows * columns, 1])), slot), [count, size, 1]);
}

/** Rows of blocks [count, size, D] brought back to their slots: [T, K, D], zeros where there is no group. */
export function fromBlocks(x: Tensor, { place, count, size }: RowBlocks): Tensor {
  return gather(withZeroRow(reshape(x, [count * size, x.staticShape[2]])), place);
}

/** float32 [G, count]: 1 where a block belongs to a group. Times [count, ...] it sums over the blocks of each group. */
export const blocksOfGroups = ({ group, count }: RowBlocks, numGroups: number): Tensor =>
  cast(equal(reshape(upTo(numGroups), [numGroups, 1]), reshape(group, [1, count])), "float32");
