/**
 * @file Additive masks (0 or -1e9) of attention, computed once a run from the rows' layout and shared by every layer.
 */
import {
  add,
  and,
  cast,
  concat,
  constant,
  div,
  equal,
  expand,
  gather,
  greater,
  greaterOrEqual,
  less,
  lessOrEqual,
  minimum,
  mul,
  or,
  reduceMin,
  reduceSum,
  reshape,
  sub,
  type Tensor,
  where,
} from "../../graph/index.js";
import type { BlockPlan, HeadPattern } from "./pattern.js";

/** Finite, so that a row that sees nothing stays finite; large enough to vanish in a softmax. */
const BLOCKED = -1e9;

/** The rows' layout as graph values. N positions, M global slots a row. */
export interface Layout {
  readonly batch: number;
  readonly length: number;
  /** int64 [B, N]: document of each position, -1 on padding. */
  readonly segment: Tensor;
  /** Global slots, when M > 0. */
  readonly globals: GlobalSlots | null;
}
export interface GlobalSlots {
  readonly count: number;
  /** int64 [B*M]: flattened position b*N + p each slot stands for. */
  readonly index: Tensor;
  /** float32 [B, M]: 1 for slots in use. */
  readonly valid: Tensor;
  /** int64 [B*N]: 0 where not global, else 1 + flattened slot number. */
  readonly slot: Tensor;
  /** Most slots of the documents that any block of queries has a part in; blocks then see those alone. Default: all. */
  readonly near?: number | undefined;
}
/** The slots each block of a plan sees: S = plan.globalKeys of them, next to each other. */
export interface NearSlots {
  /** int64 [B*blocks*S]: flattened slot numbers b*M + m. */
  readonly slots: Tensor;
  /** float32 [B, 1, blocks, S, block]: which positions of the block a slot sees. */
  readonly mask: Tensor;
}

export const additive = (allowed: Tensor): Tensor => where(allowed, 0, BLOCKED);

/** int64 [B, M]: document of each global slot; -2 for empty slots, so that nobody sees them. */
export function slotSegments({ batch, length, segment }: Layout, globals: GlobalSlots): Tensor {
  const found = reshape(gather(reshape(segment, [batch * length]), globals.index), [batch, globals.count]);
  return where(greater(globals.valid, 0.5), found, -2);
}

/** int64 [B, M]: the position in its row that each global slot stands for. */
function slotPositions({ batch, length }: Layout, globals: GlobalSlots): Tensor {
  const starts = Array.from({ length: batch }, (_, b) => b * length);
  return sub(reshape(globals.index, [batch, globals.count]), constant(starts, [batch, 1], "int64"));
}

/** Rows int64 [B, n] with `more` columns of `value` behind. */
const extend = (x: Tensor, value: number, more: number): Tensor =>
  more > 0 ? concat([x, expand(constant(value, [], "int64"), [x.staticShape[0], more])], 1) : x;

const count = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** Whether positions so far apart lie in one another's window: int64 -> bool, of any shape. */
export function inWindow(distance: Tensor, { window, dilation }: HeadPattern): Tensor {
  const reach = window * dilation;
  const near = and(lessOrEqual(distance, reach), greaterOrEqual(distance, -reach));
  return dilation > 1 ? and(near, equal(mul(div(distance, dilation), dilation), distance)) : near;
}

/** Every query against every position, whatever the pattern (`sees`): float32 [B, 1, N, N]. */
export function pairMask(layout: Layout, pattern: HeadPattern): Tensor {
  const { full, causal = false } = pattern;
  const { batch, length, segment, globals } = layout;
  const ofRow = (x: Tensor) => reshape(x, [batch, 1, length, 1]);
  const ofColumn = (x: Tensor) => reshape(x, [batch, 1, 1, length]);
  let seen = equal(ofRow(segment), ofColumn(segment));
  if (full && !causal) return additive(seen);
  // Compared in the graph: N^2 flags of a constant would be written into the model.
  const [row, column] = [
    [length, 1],
    [1, length],
  ].map((shape) => constant(count(length), shape, "int64"));
  const back = sub(row, column);
  if (!full) {
    let near = inWindow(back, pattern);
    if (globals) {
      const isGlobal = greater(globals.slot, 0);
      near = or(or(near, ofRow(isGlobal)), ofColumn(isGlobal));
    }
    seen = and(seen, near);
  }
  return additive(causal ? and(seen, greaterOrEqual(back, 0)) : seen);
}

/** Queries of the global slots against all positions: float32 [B, 1, M, N]. */
export function globalMask(layout: Layout, globals: GlobalSlots, causal: boolean): Tensor {
  const { batch, length, segment } = layout;
  const queries = reshape(slotSegments(layout, globals), [batch, 1, globals.count, 1]);
  const same = equal(queries, reshape(segment, [batch, 1, 1, length]));
  if (!causal) return additive(same);
  const own = reshape(slotPositions(layout, globals), [batch, 1, globals.count, 1]);
  return additive(and(same, greaterOrEqual(own, constant(count(length), [1, 1, 1, length], "int64"))));
}

/**
 * Which slots stand near each block. Slots are in the order of their documents, so those that a block needs lie next to each other,
 * from the first one of its first document on.
 */
export function nearSlots(layout: Layout, globals: GlobalSlots, plan: BlockPlan): NearSlots {
  const { batch, length, segment } = layout;
  const { count: slots } = globals;
  const { blocks, block, padded, globalKeys: near, causal } = plan;
  const flat = batch * blocks * near;
  const behind = constant(Number.MAX_SAFE_INTEGER, [], "int64");
  const documents = extend(segment, -1, padded - length);
  const documentsOf = reshape(documents, [batch, blocks, block]);
  const first = reduceMin(where(equal(documentsOf, -1), behind, documentsOf), [2]);
  const ofSlots = slotSegments(layout, globals);
  const earlier = less(
    reshape(where(equal(ofSlots, -2), behind, ofSlots), [batch, 1, slots]),
    reshape(first, [batch, blocks, 1]),
  );
  const start = minimum(cast(reduceSum(cast(earlier, "float32"), [2]), "int64"), slots - near);
  const own = add(reshape(start, [batch, blocks, 1]), constant(count(near), [1, 1, near], "int64"));
  const rowStarts = constant(
    count(batch).map((b) => b * slots),
    [batch, 1, 1],
    "int64",
  );
  const numbers = reshape(add(own, rowStarts), [flat]);

  const perBlock = [batch, 1, blocks, near, 1];
  const atSlots = (x: Tensor) => reshape(gather(reshape(x, [batch * slots]), numbers), perBlock);
  const same = equal(atSlots(ofSlots), reshape(documents, [batch, 1, blocks, 1, block]));
  const positions = constant(count(padded), [1, 1, blocks, 1, block], "int64");
  const seen = causal ? and(same, greaterOrEqual(atSlots(slotPositions(layout, globals)), positions)) : same;
  return { slots: numbers, mask: additive(seen) };
}

/**
 * Queries of every block against global slots and the blocks it sees: float32 [B, 1, blocks, block, globalKeys + localKeys].
 * @param near the slots each block sees; null: all of the row
 */
export function localMask(layout: Layout, plan: BlockPlan, near: NearSlots | null = null): Tensor {
  const { batch, length, segment, globals } = layout;
  const { blocks, block, window, reach, causal, localKeys, order, keyPosition } = plan;
  // Column `length` is the place that nobody stands at; globals are seen through their slots, so as local keys they are hidden.
  const nowhere = (positions: Int32Array) =>
    constant(
      Array.from(positions, (p) => (p < 0 ? length : p)),
      [positions.length],
      "int64",
    );
  const hidden = globals ? where(equal(reshape(globals.slot, [batch, length]), 0), segment, -4) : segment;
  const queries = gather(extend(segment, -3, 1), nowhere(order), 1);
  const keys = gather(extend(hidden, -4, 1), nowhere(keyPosition), 1);
  const same = equal(
    reshape(queries, [batch, 1, blocks, block, 1]),
    reshape(keys, [batch, 1, blocks, 1, localKeys]),
  );
  const band = new Uint8Array(block * localKeys);
  for (let i = 0; i < block; i++)
    for (let j = 0; j < localKeys; j++) {
      const back = i + reach * block - j;
      band[i * localKeys + j] = Number(Math.abs(back) <= window && !(causal && back < 0));
    }
  const local = and(same, constant(band, [block, localKeys], "bool"));
  if (!globals) return additive(local);
  const padded = (slots: Tensor) => {
    if (near) {
      const flat = reshape(slots, [batch * globals.count]);
      return reshape(gather(flat, near.slots), [batch, 1, blocks, 1, plan.globalKeys]);
    }
    const whole = extend(slots, -2, plan.globalKeys - globals.count);
    return reshape(whole, [batch, 1, 1, 1, plan.globalKeys]);
  };
  const seen = equal(reshape(queries, [batch, 1, blocks, block, 1]), padded(slotSegments(layout, globals)));
  const own = constant(Array.from(order), [1, 1, blocks, block, 1], "int64");
  const global = causal ? and(seen, greaterOrEqual(own, padded(slotPositions(layout, globals)))) : seen;
  return additive(concat([global, local], 4));
}
