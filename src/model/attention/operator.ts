/**
 * @file Attention as composites: windowed in blocks with global slots, and dense with a mask (full, or rows so short that all pairs are fewer
 * than those of the blocks). The oracle of both is the dense masked softmax of `sees`.
 *
 *   out_i = sum_j p_ij v_j,   p_ij = exp(q_i k_j / sqrt(d)) / sum_{j seen by i} exp(...)
 *
 * Adjoint over the blocks (D = rowsum(dO * O), as FlashAttention does):
 *   dV = P^T dO,   dS = P * (dO V^T - D),   dQ = dS K / sqrt(d),   dK = dS^T Q / sqrt(d).
 * Keys and values of a block come from one gather of chunks; its adjoint is a gather too (each chunk is used by as many blocks as a block sees), so
 * no position is ever scattered; slots are few.
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
  NDArray,
  pad,
  reduceSum,
  reshape,
  slice,
  type Tensor,
  where,
  zeros,
} from "../../graph/index.js";
import {
  arrange,
  type BlockShape,
  type Core,
  core,
  coreAdjoint,
  disarrange,
  type HeadShape,
  mergeHeads,
  splitHeads,
} from "./core.js";
import { type GlobalQueries, queryBlocks, queryRow } from "./global-queries.js";
import {
  type GlobalSlots,
  globalMask,
  type Layout,
  localMask,
  type NearSlots,
  nearSlots,
  pairMask,
} from "./masks.js";
import { type BlockPlan, blockPlan, coversRow, type HeadPattern, patternKey, sees } from "./pattern.js";

interface Attributes extends HeadShape {
  readonly pattern: HeadPattern;
}
interface WindowAttributes extends Attributes, BlockShape {}

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
  readonly global: GlobalQueries | null;
}

/** Inputs: q, k, v, segment, mask of the blocks; with globals also index, slot, valid and the mask of the slots' queries, and of a near plan `NearSlots.slots`. */
const windowAttentionOperator = defineComposite<WindowAttributes, WindowSaved>({
  name: "windowAttention",
  infer: ([q]) => [{ dtype: q.dtype, shape: q.shape }],
  lower: ([q, k, v, , mask, ...ofGlobals], a) => {
    const globals = globalInputs(ofGlobals);
    const [qh, kh, vh] = [q, k, v].map((x) => splitHeads(x, a, a.length));
    const slots = (x: Tensor) => splitHeads(gather(x, slotIndex(globals!)), a, a.plan.slotRows);
    const local = core(
      reshape(arrange(qh, a), [a.batch, a.heads, a.plan.blocks, a.plan.block, a.headSize]),
      keyBlocks(arrange(kh, a), globals ? slots(k) : null, a),
      keyBlocks(arrange(vh, a), globals ? slots(v) : null, a),
      mask,
      1 / Math.sqrt(a.headSize),
    );
    const flat = reshape(local.out, [a.batch, a.heads, a.plan.padded, a.headSize]);
    const out = mergeHeads(disarrange(flat, a), a, a.length);
    if (!globals) return { outputs: [out], saved: { local, global: null } };
    const { near, slotMask, slot } = globals;
    const global = near ? queryBlocks(slots(q), kh, vh, near, a) : queryRow(slots(q), kh, vh, slotMask, a);
    const isLocal = reshape(equal(slot, 0), [a.batch * a.length, 1]);
    return { outputs: [where(isLocal, out, fromSlots(global.rows, slot))], saved: { local, global } };
  },
  adjoint: ([g], { inputs: [, , , , , ...ofGlobals], attributes: a, saved: { local, global } }) => {
    const globals = globalInputs(ofGlobals);
    const none = ofGlobals.map(() => null);
    const inner = globals ? where(reshape(equal(globals.slot, 0), [a.batch * a.length, 1]), g!, 0) : g!;
    const blocks = reshape(arrange(splitHeads(inner, a, a.length), a), local.out.shape);
    const [dq, dk, dv] = coreAdjoint(local, blocks, 1 / Math.sqrt(a.headSize));
    const back = (x: Tensor) => disarrange(reshape(x, [a.batch, a.heads, a.plan.padded, a.headSize]), a);
    const [keys, values] = [dk, dv].map((x) => keyBlocksAdjoint(x, a));
    if (!globals || !global)
      return [...[dq, keys.local, values.local].map((x) => mergeHeads(back(x), a, a.length)), null, null];
    // Empty slots stand at some position too: nothing may flow back through them.
    const used = greater(reshape(globals.valid, [a.batch * a.globals, 1]), 0.5);
    const outer = global.adjoint(where(used, gather(g!, globals.index), 0));
    // Empty slots add zeros, to whatever position they stand at.
    const total = (here: Tensor, all: Tensor | null, slots: Tensor) => {
      const sequence = all ? add(back(here), all) : back(here);
      return addRows(mergeHeads(sequence, a, a.length), slotIndex(globals), slots);
    };
    return [
      total(dq, null, outer.q),
      total(keys.local, outer.k, mergeHeads(keys.slots!, a, a.plan.slotRows)),
      total(values.local, outer.v, mergeHeads(values.slots!, a, a.plan.slotRows)),
      null,
      null,
      ...none,
    ];
  },
  evaluate: (inputs, a) => [denseAttention(inputs, a.globals > 0 ? inputs[6] : null, a)],
});

/** The inputs of the composite that tell of global slots, by name. */
interface GlobalInputs extends Omit<GlobalSlots, "count" | "near"> {
  /** Which positions a slot sees; of a near plan it is in `near`. */
  readonly slotMask: Tensor;
  readonly near: NearSlots | null;
}
function globalInputs([index, slot, valid, slotMask, slots]: readonly Tensor[]): GlobalInputs | null {
  if (!index) return null;
  return { index, slot, valid, slotMask, near: slots ? { slots, mask: slotMask } : null };
}

/** Position of each laid out slot: int64 [B*slotRows]. */
const slotIndex = ({ index, near }: GlobalInputs): Tensor => (near ? gather(index, near.slots) : index);

/** Rows [B*M, W] to the positions they stand for; zeros elsewhere. -> [B*N, W] */
const fromSlots = (rows: Tensor, slot: Tensor): Tensor =>
  gather(concat([zeros([1, rows.staticShape[1]]), rows], 0), slot);

/** Arranged keys [B, H, padded, d] and slots [B, H, slotRows, d] -> what each block sees [B, H, blocks, globalKeys + localKeys, d]. */
function keyBlocks(
  x: Tensor,
  slots: Tensor | null,
  { batch, heads, headSize, plan }: WindowAttributes,
): Tensor {
  const wide = plan.chunk * headSize;
  const parts = [reshape(x, [batch * heads, plan.padded / plan.chunk, wide])];
  if (slots) {
    const rows = Math.max(plan.slotRows, plan.globalKeys);
    parts.unshift(reshape(pad(slots, 2, 0, rows - plan.slotRows), [batch * heads, rows / plan.chunk, wide]));
  }
  const keys = plan.globalKeys + plan.localKeys;
  const index = constant(plan.keyChunks, [plan.blocks, keys / plan.chunk], "int64");
  return reshape(gather(concat(parts, 1), index, 1), [batch, heads, plan.blocks, keys, headSize]);
}

/** Adjoint of `keyBlocks`: sums the uses of every chunk, and those of slots that all blocks see. */
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
  if (plan.near) return { local, slots: reshape(used, [batch, heads, plan.slotRows, headSize]) };
  const summed = reshape(reduceSum(used, [1]), [batch, heads, plan.globalKeys, headSize]);
  return { local, slots: slice(summed, 2, 0, globals) };
}

/** Equal for plans that are equal, within one layout. */
const planKey = (plan: BlockPlan): string => `${patternKey(plan)}/${plan.reach}/${plan.near}`;

/** Masks of one layout, each built once and shared by the layers that want it. */
export class MaskCache {
  private readonly built = new Map<string, Tensor>();
  private readonly nearSlots = new Map<string, NearSlots>();
  constructor(readonly layout: Layout) {}

  private once(key: string, build: () => Tensor): Tensor {
    const mask = this.built.get(key) ?? build();
    this.built.set(key, mask);
    return mask;
  }
  dense(pattern: HeadPattern): Tensor {
    return this.once(`dense/${patternKey(pattern)}`, () => pairMask(this.layout, pattern));
  }
  global(causal = false): Tensor {
    return this.once(`global/${causal}`, () => globalMask(this.layout, this.layout.globals!, causal));
  }
  local(plan: BlockPlan): Tensor {
    return this.once(`local/${planKey(plan)}`, () => localMask(this.layout, plan, this.near(plan)));
  }
  /** Of a plan whose blocks see slots near them. */
  near(plan: BlockPlan): NearSlots | null {
    if (!plan.near) return null;
    const key = planKey(plan);
    const found = this.nearSlots.get(key) ?? nearSlots(this.layout, this.layout.globals!, plan);
    this.nearSlots.set(key, found);
    return found;
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
  const plan =
    options.plan === undefined
      ? blockPlan(pattern, length, globals?.count ?? 0, globals?.near)
      : options.plan;
  const shape = { batch, length, heads, headSize, pattern };
  if (!plan) {
    const own = { ...pattern, full: pattern.full || coversRow(pattern, length) };
    const dense = [q, k, v, segment, masks.dense(own)];
    if (globals && !own.full) dense.push(globals.slot);
    return apply(denseAttentionOperator, dense, { ...shape, pattern: own } satisfies Attributes)[0];
  }
  const inputs = [q, k, v, segment, masks.local(plan)];
  if (globals) {
    const near = masks.near(plan);
    inputs.push(globals.index, globals.slot, globals.valid, near?.mask ?? masks.global(plan.causal));
    if (near) inputs.push(near.slots);
  }
  return apply(windowAttentionOperator, inputs, {
    ...shape,
    plan,
    globals: globals?.count ?? 0,
  } satisfies WindowAttributes)[0];
}
