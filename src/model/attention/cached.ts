/**
 * @file Attention of some rows (active-rows.ts): their queries meet the keys and values of all rows. Where active rows alone are computed,
 * those are fresh where a row is active, held elsewhere.
 *
 *   out_r = sum_j p_rj v_j,   p_rj as in operator.ts,   (k_j, v_j) = fresh of slot place_j - 1 if place_j > 0, else held
 *
 * The queries of a group share a range of keys: its span and the window to both sides (no further than the row is long), or the whole
 * row with full attention, and the row's global slots; a causal pattern leaves out what stands behind the query. A range is counted from
 * the group's first row and never moved to fit, so that a row's sum has the same order whatever the batch and its padding. Rows of keys
 * are gathered head by head, from held and fresh ones as if they were one table. Global positions are seen, but must not be active: their
 * queries would see everything. Not differentiable.
 */
import {
  add,
  and,
  apply,
  concat,
  constant,
  defineComposite,
  div,
  equal,
  gather,
  greaterOrEqual,
  less,
  matmul,
  maximum,
  minimum,
  mul,
  NDArray,
  reshape,
  softmax,
  sub,
  type Tensor,
  transpose,
  where,
} from "../../graph/index.js";
import type { ActiveRows, KeysAndValues } from "../active-rows.js";
import { additive, inWindow, type Layout, slotSegments } from "./masks.js";
import { coversRow, type HeadGroup, type HeadPattern, patternKey, sees } from "./pattern.js";

interface Attributes {
  readonly batch: number;
  readonly length: number;
  readonly headSize: number;
  readonly pattern: HeadPattern;
  /** Heads of the model, and which of them are meant. */
  readonly allHeads: number;
  readonly start: number;
  readonly count: number;
  readonly groups: number;
  readonly slots: number;
  readonly globals: boolean;
}

/** q [R, count*d]; keys and values of all heads [T, allHeads*d], fresh ones behind. */
const cachedAttentionOperator = defineComposite<Attributes, null>({
  name: "cachedAttention",
  infer: ([q]) => [{ dtype: q.dtype, shape: q.shape }],
  lower: ([q, keys, values, keyRow, mask], a) => {
    const { groups, slots, count, headSize, allHeads, start } = a;
    const heads = constant(
      Array.from({ length: count }, (_, h) => start + h),
      [1, count, 1],
      "int64",
    );
    const wide = keyRow.staticShape[1];
    const index = add(mul(reshape(keyRow, [groups, 1, wide]), allHeads), heads);
    const table = (x: Tensor) => reshape(x, [x.staticShape[0] * allHeads, headSize]);
    const grouped = transpose(reshape(q, [groups, slots, count, headSize]), [0, 2, 1, 3]);
    const scores = matmul(grouped, gather(table(keys), index), {
      transposeB: true,
      scale: 1 / Math.sqrt(headSize),
    });
    const out = matmul(softmax(add(scores, mask)), gather(table(values), index));
    const rows = reshape(transpose(out, [0, 2, 1, 3]), [groups * slots, count * headSize]);
    return { outputs: [rows], saved: null };
  },
  evaluate: ([q, keys, values, , , row, own, place, segment, globalSlot], a) => {
    const { batch, length, headSize, allHeads, start, count, pattern } = a;
    const out = NDArray.zeros(q.shape);
    const positions = batch * length;
    for (const [r, at] of row.data.entries()) {
      if (own.data[at] !== r + 1) continue;
      const b = Math.floor(at / length);
      const ofRow = (x: NDArray) => x.data.subarray(b * length, (b + 1) * length);
      const layout = {
        segment: ofRow(segment),
        isGlobal: a.globals ? ofRow(globalSlot) : new Uint8Array(length),
      };
      const seen = Array.from({ length }, (_, j) => j).filter((j) => sees(pattern, layout, at % length, j));
      const stored = seen.map((j) => {
        const slot = place.data[b * length + j];
        return slot > 0 ? positions + slot - 1 : b * length + j;
      });
      for (let h = 0; h < count; h++) {
        const from = (start + h) * headSize;
        const scores = stored.map((t) => {
          let sum = 0;
          for (let c = 0; c < headSize; c++)
            sum += q.data[(r * count + h) * headSize + c] * keys.data[t * allHeads * headSize + from + c];
          return sum / Math.sqrt(headSize);
        });
        const top = Math.max(...scores);
        const weights = scores.map((s) => Math.exp(s - top));
        const total = weights.reduce((x, y) => x + y, 0);
        for (const [i, t] of stored.entries())
          for (let c = 0; c < headSize; c++)
            out.data[(r * count + h) * headSize + c] +=
              (weights[i] / total) * values.data[t * allHeads * headSize + from + c];
      }
    }
    return [out];
  },
});

/** Reaches beyond the row are cut in steps of this: as many floats as the widest vectors take at once, four of 16. */
const CUT = 64;

/**
 * Keys to each side of a group: what the window spans, or what the row has, with up to CUT - 1 more. With whole steps cut off a key keeps
 * its place among the lanes that sums are made in, whatever the row's padding.
 */
function boundedReach({ window, dilation }: HeadPattern, length: number): number {
  const whole = window * dilation;
  return whole - CUT * Math.max(0, Math.floor((whole - (length - 1)) / CUT));
}

/** What the groups see under one pattern. K: keys of a group, global slots first. */
interface GroupKeys {
  /** int64 [G, K]: row of each key in the table of held and fresh rows. */
  readonly keyRow: Tensor;
  /** float32 [G, 1, Q, K] */
  readonly mask: Tensor;
}

/** Keys and masks of rows, each made once and shared by the layers that want it. */
export class CachedKeys {
  /** int64 [B*N]: 0, or 1 + the slot of a row whose key is fresh. */
  readonly place: Tensor;
  private readonly built = new Map<string, GroupKeys>();

  /** @param rows whose queries there are @param fresh the rows whose keys stand behind those of all rows; null: the table has all, once */
  constructor(
    readonly layout: Layout,
    readonly rows: ActiveRows,
    fresh: ActiveRows | null,
  ) {
    const positions = layout.batch * layout.length;
    this.place = fresh?.place ?? constant(new Array<number>(positions).fill(0), [positions], "int64");
  }

  of(pattern: HeadPattern): GroupKeys {
    const key = patternKey(pattern);
    const keys = this.built.get(key) ?? groupKeys(this, pattern);
    this.built.set(key, keys);
    return keys;
  }
}

function groupKeys({ layout, rows, place }: CachedKeys, pattern: HeadPattern): GroupKeys {
  const { batch, length, globals } = layout;
  const { shape, row, start } = rows;
  const { groups, slots, span } = shape;
  const positions = batch * length;
  const segments = reshape(layout.segment, [positions]);
  const sequence = div(start, length);
  const rowStart = reshape(mul(sequence, length), [groups, 1]);
  const reach = boundedReach(pattern, length);
  const causal = pattern.causal ?? false;
  const count = pattern.full ? length : span + (causal ? reach : 2 * reach);
  const from = pattern.full ? rowStart : sub(reshape(start, [groups, 1]), reach);
  const steps = constant(
    Array.from({ length: count }, (_, i) => i),
    [1, count],
    "int64",
  );
  const wanted = add(from, steps);
  const inside = and(greaterOrEqual(wanted, rowStart), less(wanted, add(rowStart, length)));
  const local = minimum(maximum(wanted, 0), positions - 1);
  const query = reshape(row, [groups, slots, 1]);
  const querySegment = reshape(gather(segments, row), [groups, slots, 1]);
  const keyOf = (x: Tensor) => reshape(x, [groups, 1, x.staticShape[1]]);
  let seen = and(equal(querySegment, keyOf(gather(segments, local))), keyOf(inside));
  const slotted = globals && !pattern.full;
  const distance = sub(query, keyOf(wanted));
  if (causal) seen = and(seen, greaterOrEqual(distance, 0));
  if (!pattern.full) {
    seen = and(seen, inWindow(distance, pattern));
    // Globals are seen through their slots, so as local keys they are hidden.
    if (slotted) seen = and(seen, keyOf(equal(gather(globals.slot, local), 0)));
  }
  const parts = { key: [local], seen: [seen] };
  if (slotted) {
    const slots = gather(reshape(globals.index, [batch, globals.count]), sequence);
    const same = equal(querySegment, keyOf(gather(slotSegments(layout, globals), sequence)));
    parts.key.unshift(slots);
    parts.seen.unshift(causal ? and(same, greaterOrEqual(query, keyOf(slots))) : same);
  }
  const key = concat(parts.key, 1);
  const slot = gather(place, key);
  return {
    keyRow: where(equal(slot, 0), key, add(slot, positions - 1)),
    mask: reshape(additive(concat(parts.seen, 2)), [groups, 1, slots, key.staticShape[1]]),
  };
}

/** Held rows and, behind them, fresh ones: what every head group of a layer gathers from. */
export const keyTable = (held: KeysAndValues, fresh: KeysAndValues): KeysAndValues => ({
  key: concat([held.key, fresh.key], 0),
  value: concat([held.value, fresh.value], 0),
});

/**
 * Attention of one group of heads.
 * @param q float32 [R, count*d] of these heads @param table [T, allHeads*d], or with fresh rows behind (`keyTable`) @returns float32 [R, count*d]; what an
 * empty slot gets means nothing
 */
export function cachedAttention(
  q: Tensor,
  table: KeysAndValues,
  { pattern, start, count }: HeadGroup,
  keys: CachedKeys,
): Tensor {
  const { layout, rows, place } = keys;
  const { batch, length, segment, globals } = layout;
  const headSize = q.staticShape[1] / count;
  const own = { ...pattern, full: pattern.full || coversRow(pattern, length) };
  const { keyRow, mask } = keys.of(own);
  const inputs = [q, table.key, table.value, keyRow, mask, rows.row, rows.place, place, segment];
  if (globals) inputs.push(globals.slot);
  return apply(cachedAttentionOperator, inputs, {
    batch,
    length,
    headSize,
    pattern: own,
    allHeads: table.key.staticShape[1] / headSize,
    start,
    count,
    groups: rows.shape.groups,
    slots: rows.shape.slots,
    globals: globals !== null,
  } satisfies Attributes)[0];
}
