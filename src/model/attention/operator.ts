/**
 * @file Attention as composites: windowed in blocks with global slots, and dense with a mask (full, or rows so short that all pairs are fewer
 * than those of the blocks). The oracle of both is the dense masked softmax of `sees`.
 *
 *   out_i = sum_j p_ij v_j,   p_ij = exp(q_i k_j / sqrt(d)) / sum_{j seen by i} exp(...)
 *
 * Adjoint over the blocks (D = rowsum(dO * O), as FlashAttention does):
 *   dV = P^T dO,   dS = P * (dO V^T - D),   dQ = dS K / sqrt(d),   dK = dS^T Q / sqrt(d).
 * Keys and values of a block come from one gather of chunks; its adjoint is a gather too (each chunk is used by as many blocks as a block sees), so
 * nothing is ever scattered.
 */
import {
  add,
  addRows,
  apply,
  concat,
  constant,
  defineComposite,
  equal,
  gather,
  greater,
  matmul,
  mul,
  NDArray,
  pad,
  reduceSum,
  reshape,
  rowDot,
  slice,
  softmax,
  sub,
  type Tensor,
  transpose,
  where,
  zeros,
} from "../../graph/index.js";
import { globalMask, type Layout, localMask, pairMask } from "./masks.js";
import { type BlockPlan, blockPlan, coversRow, type HeadPattern, sees } from "./pattern.js";

interface HeadShape {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly headSize: number;
}
interface Attributes extends HeadShape {
  readonly pattern: HeadPattern;
}
interface WindowAttributes extends Attributes {
  readonly plan: BlockPlan;
  /** Global slots a row; 0: none. */
  readonly globals: number;
}

/** [B*rows, H*d] -> [B, H, rows, d] */
const splitHeads = (x: Tensor, { batch, heads, headSize }: HeadShape, rows: number): Tensor =>
  transpose(reshape(x, [batch, rows, heads, headSize]), [0, 2, 1, 3]);
/** [B, H, rows, d] -> [B*rows, H*d] */
const mergeHeads = (x: Tensor, { batch, heads, headSize }: HeadShape, rows: number): Tensor =>
  reshape(transpose(x, [0, 2, 1, 3]), [batch * rows, heads * headSize]);

/** One softmax attention over already arranged operands [..., rows, d], [..., keys, d], and its adjoint. */
interface Core {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly p: Tensor;
  readonly out: Tensor;
}
function core(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: number): Core {
  const p = softmax(add(matmul(q, k, { transposeB: true, scale }), mask));
  return { q, k, v, p, out: matmul(p, v) };
}
function coreAdjoint({ q, k, v, p, out }: Core, g: Tensor, scale: number): [Tensor, Tensor, Tensor] {
  const dv = matmul(p, g, { transposeA: true });
  const dp = matmul(g, v, { transposeB: true });
  const ds = mul(p, sub(dp, rowDot(g, out)));
  return [matmul(ds, k, { scale }), matmul(ds, q, { transposeA: true, scale }), dv];
}

/** The oracle: q, k, v [B*N, H*d]; one obvious loop. */
function denseAttention(
  [q, k, v, segment]: readonly NDArray[],
  globalSlot: NDArray | null,
  { batch, length, heads, headSize, pattern }: Attributes,
): NDArray {
  const out = NDArray.zeros(q.shape);
  const width = heads * headSize;
  for (let b = 0; b < batch; b++) {
    const row = {
      segment: segment.data.subarray(b * length, (b + 1) * length),
      isGlobal: globalSlot ? globalSlot.data.subarray(b * length, (b + 1) * length) : new Uint8Array(length),
    };
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < length; i++) {
        const at = (position: number) => (b * length + position) * width + h * headSize;
        const scores = new Float64Array(length).fill(-Infinity);
        for (let j = 0; j < length; j++) {
          if (!sees(pattern, row, i, j)) continue;
          scores[j] = 0;
          for (let c = 0; c < headSize; c++) scores[j] += q.data[at(i) + c] * k.data[at(j) + c];
          scores[j] /= Math.sqrt(headSize);
        }
        const top = scores.reduce((a, x) => Math.max(a, x), -Infinity);
        const weights = scores.map((s) => Math.exp(s - top));
        const total = weights.reduce((a, x) => a + x, 0);
        for (let j = 0; j < length; j++)
          for (let c = 0; c < headSize; c++) out.data[at(i) + c] += (weights[j] / total) * v.data[at(j) + c];
      }
  }
  return out;
}

const denseAttentionOperator = defineComposite<Attributes, Core>({
  name: "denseAttention",
  infer: ([q]) => [{ dtype: q.dtype, shape: q.shape }],
  lower: ([q, k, v, , mask], shape) => {
    const split = (x: Tensor) => splitHeads(x, shape, shape.length);
    const saved = core(split(q), split(k), split(v), mask, 1 / Math.sqrt(shape.headSize));
    return { outputs: [mergeHeads(saved.out, shape, shape.length)], saved };
  },
  adjoint: ([g], { inputs, attributes: shape, saved }) => {
    const gradients = coreAdjoint(saved, splitHeads(g!, shape, shape.length), 1 / Math.sqrt(shape.headSize));
    const none = inputs.slice(gradients.length).map(() => null);
    return [...gradients.map((x) => mergeHeads(x, shape, shape.length)), ...none];
  },
  evaluate: (inputs, shape) => [denseAttention(inputs, inputs[5] ?? null, shape)],
});

interface WindowSaved {
  readonly local: Core;
  readonly global: Core | null;
}

const windowAttentionOperator = defineComposite<WindowAttributes, WindowSaved>({
  name: "windowAttention",
  infer: ([q]) => [{ dtype: q.dtype, shape: q.shape }],
  lower: ([q, k, v, , mask, index, slot, slotMask], a) => {
    const scale = 1 / Math.sqrt(a.headSize);
    const [qh, kh, vh] = [q, k, v].map((x) => splitHeads(x, a, a.length));
    const slots = (x: Tensor) => splitHeads(gather(x, index), a, a.globals);
    const local = core(
      reshape(arrange(qh, a), [a.batch, a.heads, a.plan.blocks, a.plan.block, a.headSize]),
      keyBlocks(arrange(kh, a), index ? slots(k) : null, a),
      keyBlocks(arrange(vh, a), index ? slots(v) : null, a),
      mask,
      scale,
    );
    const flat = reshape(local.out, [a.batch, a.heads, a.plan.padded, a.headSize]);
    const out = mergeHeads(disarrange(flat, a), a, a.length);
    if (!index) return { outputs: [out], saved: { local, global: null } };
    const global = core(slots(q), kh, vh, slotMask, scale);
    const isLocal = reshape(equal(slot, 0), [a.batch * a.length, 1]);
    const outputs = [where(isLocal, out, fromSlots(mergeHeads(global.out, a, a.globals), slot))];
    return { outputs, saved: { local, global } };
  },
  adjoint: ([g], { inputs: [, , , , , index, slot, , valid], attributes: a, saved: { local, global } }) => {
    const scale = 1 / Math.sqrt(a.headSize);
    const none = index ? [null, null, null, null, null, null] : [null, null];
    const inner = index ? where(reshape(equal(slot, 0), [a.batch * a.length, 1]), g!, 0) : g!;
    const blocks = reshape(arrange(splitHeads(inner, a, a.length), a), local.out.shape);
    const [dq, dk, dv] = coreAdjoint(local, blocks, scale);
    const back = (x: Tensor) => disarrange(reshape(x, [a.batch, a.heads, a.plan.padded, a.headSize]), a);
    const [keys, values] = [dk, dv].map((x) => keyBlocksAdjoint(x, a));
    if (!index || !global)
      return [...[dq, keys.local, values.local].map((x) => mergeHeads(back(x), a, a.length)), ...none];
    // Empty slots stand at some position too: nothing may flow back through them.
    const used = greater(reshape(valid, [a.batch * a.globals, 1]), 0.5);
    const outer = splitHeads(where(used, gather(g!, index), 0), a, a.globals);
    const [dqs, dkAll, dvAll] = coreAdjoint(global, outer, scale);
    // Empty slots add zeros, to whatever position they stand at.
    const total = (here: Tensor, all: Tensor | null, slots: Tensor) => {
      const sequence = all ? add(back(here), all) : back(here);
      return addRows(mergeHeads(sequence, a, a.length), index, mergeHeads(slots, a, a.globals));
    };
    return [
      total(dq, null, dqs),
      total(keys.local, dkAll, keys.slots!),
      total(values.local, dvAll, values.slots!),
      ...none,
    ];
  },
  evaluate: (inputs, a) => [denseAttention(inputs, a.globals > 0 ? inputs[6] : null, a)],
});

/** [B, H, N, d] -> [B, H, padded, d] in the plan's order. */
function arrange(x: Tensor, { length, plan }: WindowAttributes): Tensor {
  if (plan.dilation === 1) return pad(x, 2, 0, plan.padded - length);
  const padded = pad(x, 2, 0, 1); // position `length`: the zeros behind the end
  const places = Array.from(plan.order, (p) => (p < 0 ? length : p));
  return gather(padded, constant(places, [plan.padded], "int64"), 2);
}

/** The inverse of `arrange`: [B, H, padded, d] -> [B, H, N, d]. */
function disarrange(x: Tensor, { length, plan }: WindowAttributes): Tensor {
  if (plan.dilation === 1) return slice(x, 2, 0, length);
  const places = new Array<number>(length);
  for (const [place, position] of plan.order.entries()) if (position >= 0) places[position] = place;
  return gather(x, constant(places, [length], "int64"), 2);
}

/** Rows [B*M, W] to the positions they stand for; zeros elsewhere. -> [B*N, W] */
const fromSlots = (rows: Tensor, slot: Tensor): Tensor =>
  gather(concat([zeros([1, rows.staticShape[1]]), rows], 0), slot);

/** Arranged keys [B, H, padded, d] and slots [B, H, M, d] -> what each block sees [B, H, blocks, globalKeys + localKeys, d]. */
function keyBlocks(
  x: Tensor,
  slots: Tensor | null,
  { batch, heads, headSize, plan }: WindowAttributes,
): Tensor {
  const wide = plan.chunk * headSize;
  const parts = [reshape(x, [batch * heads, plan.padded / plan.chunk, wide])];
  if (slots) {
    const padded = pad(slots, 2, 0, plan.globalKeys - slots.staticShape[2]);
    parts.unshift(reshape(padded, [batch * heads, plan.globalKeys / plan.chunk, wide]));
  }
  const keys = plan.globalKeys + plan.localKeys;
  const index = constant(plan.keyChunks, [plan.blocks, keys / plan.chunk], "int64");
  return reshape(gather(concat(parts, 1), index, 1), [batch, heads, plan.blocks, keys, headSize]);
}

/** Adjoint of `keyBlocks`: sums the uses of every chunk, and the uses of the slots by all blocks. */
function keyBlocksAdjoint(
  g: Tensor,
  { batch, heads, headSize, plan, globals }: WindowAttributes,
): { local: Tensor; slots: Tensor | null } {
  const chunksARow = (plan.globalKeys + plan.localKeys) / plan.chunk;
  const rows = reshape(g, [batch * heads, plan.blocks * chunksARow, plan.chunk * headSize]);
  const uses = constant(plan.usesOfChunk, [plan.sides, plan.padded / plan.chunk], "int64");
  const local = reduceSum(gather(rows, uses, 1), [1]);
  const globalChunks = plan.globalKeys / plan.chunk;
  if (globals === 0) return { local, slots: null };
  const places = Array.from({ length: plan.blocks }, (_, b) =>
    Array.from({ length: globalChunks }, (__, c) => b * chunksARow + c),
  ).flat();
  const used = gather(rows, constant(places, [plan.blocks, globalChunks], "int64"), 1);
  const summed = reshape(reduceSum(used, [1]), [batch, heads, plan.globalKeys, headSize]);
  return { local, slots: slice(summed, 2, 0, globals) };
}

/** Masks of one layout, each built once and shared by the layers that want it. */
export class MaskCache {
  private readonly built = new Map<string, Tensor>();
  constructor(readonly layout: Layout) {}

  private once(key: string, build: () => Tensor): Tensor {
    const mask = this.built.get(key) ?? build();
    this.built.set(key, mask);
    return mask;
  }
  dense(pattern: HeadPattern): Tensor {
    const { full, window, dilation, causal } = pattern;
    const key = `dense/${full || `${window}/${dilation}`}/${causal}`;
    return this.once(key, () => pairMask(this.layout, pattern));
  }
  global(causal = false): Tensor {
    return this.once(`global/${causal}`, () => globalMask(this.layout, this.layout.globals!, causal));
  }
  local(plan: BlockPlan): Tensor {
    const key = `${plan.window}/${plan.dilation}/${plan.reach}/${plan.causal}`;
    return this.once(key, () => localMask(this.layout, plan));
  }
}

/**
 * Attention of `heads` heads that share a pattern. q, k, v float32 [B*N, heads*headSize] -> [B*N, heads*headSize].
 * `plan`: how the window runs; null: densely, under a mask. Default: what is cheaper (`blockPlan`).
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: { heads: number; pattern: HeadPattern; masks: MaskCache; plan?: BlockPlan | null },
): Tensor {
  const { heads, pattern, masks } = options;
  const { batch, length, segment, globals } = masks.layout;
  const headSize = q.staticShape[1] / heads;
  const plan = options.plan === undefined ? blockPlan(pattern, length, globals?.count ?? 0) : options.plan;
  const shape = { batch, length, heads, headSize, pattern };
  if (!plan) {
    const own = { ...pattern, full: pattern.full || coversRow(pattern, length) };
    const dense = [q, k, v, segment, masks.dense(own)];
    if (globals && !own.full) dense.push(globals.slot);
    return apply(denseAttentionOperator, dense, { ...shape, pattern: own } satisfies Attributes)[0];
  }
  const inputs = [q, k, v, segment, masks.local(plan)];
  if (globals) inputs.push(globals.index, globals.slot, masks.global(plan.causal), globals.valid);
  return apply(windowAttentionOperator, inputs, {
    ...shape,
    plan,
    globals: globals?.count ?? 0,
  } satisfies WindowAttributes)[0];
}
