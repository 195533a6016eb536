/**
 * @file What global slots see of their documents. In a row of few documents every slot is held against all positions. In a row of many
 * that would be documents * g * N pairs, nearly all of them masked; there each block of positions is met by the slots of its own
 * documents alone, and a slot's parts from all blocks are one softmax, as its normaliser is summed first:
 *
 *   L_s = log sum_b exp(l_sb),   l_sb = log sum_{j in block b} exp(q_s k_j / sqrt(d)),   p_sj = exp(q_s k_j / sqrt(d) - L_s)
 *
 * so out_s = sum_b sum_{j in b} p_sj v_j, and the adjoint is that of `core`, block by block.
 */
import {
  add,
  addRows,
  constant,
  exp,
  expand,
  gather,
  log,
  logSumExp,
  matmul,
  maxRows,
  mul,
  reshape,
  rowDot,
  sub,
  type Tensor,
  transpose,
  zeros,
} from "../../graph/index.js";
import { arrange, type BlockShape, core, coreAdjoint, disarrange, mergeHeads, splitHeads } from "./core.js";
import type { NearSlots } from "./masks.js";

export interface GlobalQueries {
  /** What each slot makes of its document. [B*M, H*d]; of empty slots anything finite. */
  readonly rows: Tensor;
  /**
   * @param g [B*M, H*d], zeros for empty slots
   * @returns gradients of the laid out queries [B*slotRows, H*d] and of keys and values [B, H, N, d]
   */
  adjoint(g: Tensor): { readonly q: Tensor; readonly k: Tensor; readonly v: Tensor };
}

/** Every slot against all positions. q [B, H, M, d]; k, v [B, H, N, d]; mask float32 [B, 1, M, N]. */
export function queryRow(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, shape: BlockShape): GlobalQueries {
  const scale = 1 / Math.sqrt(shape.headSize);
  const saved = core(q, k, v, mask, scale);
  return {
    rows: mergeHeads(saved.out, shape, shape.globals),
    adjoint: (g) => {
      const [dq, dk, dv] = coreAdjoint(saved, splitHeads(g, shape, shape.globals), scale);
      return { q: mergeHeads(dq, shape, shape.globals), k: dk, v: dv };
    },
  };
}

/** Every block against the slots near it. q [B, H, blocks*S, d]; k, v [B, H, N, d]. */
export function queryBlocks(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  near: NearSlots,
  shape: BlockShape,
): GlobalQueries {
  const { batch, heads, headSize, globals, plan } = shape;
  const { blocks, block, globalKeys: slots, padded } = plan;
  const scale = 1 / Math.sqrt(headSize);
  const inBlocks = (x: Tensor) => reshape(arrange(x, shape), [batch, heads, blocks, block, headSize]);
  const outOfBlocks = (x: Tensor) => disarrange(reshape(x, [batch, heads, padded, headSize]), shape);
  const bySlot = (x: Tensor) => reshape(x, [batch, heads, blocks, slots, headSize]);
  /** Rows of slots [B*M, H*c] to where blocks meet them: [B, H, blocks, S, c]. */
  const meet = (x: Tensor, columns: number) =>
    reshape(splitHeads(gather(x, near.slots), { ...shape, headSize: columns }, blocks * slots), [
      batch,
      heads,
      blocks,
      slots,
      columns,
    ]);
  const merge = (x: Tensor) =>
    mergeHeads(reshape(x, [batch, heads, blocks * slots, headSize]), shape, blocks * slots);

  const [qs, keys, values] = [bySlot(q), inBlocks(k), inBlocks(v)];
  const scores = add(matmul(qs, keys, { transposeB: true, scale }), near.mask);
  const parts = reshape(transpose(logSumExp(scores), [0, 2, 3, 1, 4]), [batch * blocks * slots, heads]);
  const whole = logSumExpRows(parts, near.slots, batch * globals);
  const p = exp(sub(scores, meet(whole, 1)));
  const rows = addRows(zeros([batch * globals, heads * headSize]), near.slots, merge(matmul(p, values)));
  return {
    rows,
    adjoint: (g) => {
      const [own, out] = [meet(g, headSize), meet(rows, headSize)];
      const ds = mul(p, sub(matmul(own, values, { transposeB: true }), rowDot(own, out)));
      return {
        q: merge(matmul(ds, keys, { scale })),
        k: outOfBlocks(matmul(ds, qs, { transposeA: true, scale })),
        v: outOfBlocks(matmul(p, own, { transposeA: true })),
      };
    },
  };
}

/**
 * log sum exp of the rows of x [n, K] with equal `index` int64 [n]: [count, K], -Infinity where there are none. Work and memory do not
 * depend on how many rows there could be of each.
 */
function logSumExpRows(x: Tensor, index: Tensor, count: number): Tensor {
  const shape = [count, x.staticShape[1]];
  const top = maxRows(expand(constant(-1e30), shape), index, x);
  return add(log(addRows(zeros(shape), index, exp(sub(x, gather(top, index))))), top);
}
