/**
 * @file The experts where every size must be known in advance: rows in padded blocks (graph/operators/row-blocks.ts), and each block times
 * the weights of its expert, all blocks in one batch of matrix products.
 *
 * The adjoint is that of experts.ts. Places without a row are zeros on the way in, and on the way back their u is zero: they add nothing.
 */
import {
  type Activation,
  activation,
  add,
  blockRows,
  blocksOfGroups,
  concat,
  fromBlocks,
  gather,
  matmul,
  mul,
  type RowBlocks,
  reduceSum,
  reshape,
  sizeOf,
  slice,
  type Tensor,
  toBlocks,
  transpose,
  valuesToBlocks,
  vectorJacobianProduct,
} from "../../graph/index.js";
import type { ExpertWeights } from "./experts.js";

/** What the forward pass leaves for its adjoint. NB blocks of R places. */
export interface ExpertBlocks {
  readonly blocks: RowBlocks;
  readonly x: Tensor; // [NB, R, D]
  readonly pre: Tensor; // [NB, R, F], before the activation
  readonly hidden: Tensor; // [NB, R, F], after it
}

/** One kind of weight of all experts, [E, ...]. */
function stacked(weights: readonly ExpertWeights[], name: keyof ExpertWeights): Tensor {
  const all = weights.map((own) => own[name]);
  return concat(
    all.map((w) => reshape(w, [1, ...w.staticShape])),
    0,
  );
}
/** [E, A, B] -> [NB, A, B]: the matrix of each block's expert. */
const ofBlocks = (matrices: Tensor, { group }: RowBlocks): Tensor => gather(matrices, group);
const biasOfBlocks = (biases: Tensor, { group, count }: RowBlocks): Tensor =>
  reshape(gather(biases, group), [count, 1, biases.staticShape[1]]);

/** @returns results [T, K, D], before the gates; see `runExperts` for the rest */
export function expertBlocks(
  x: Tensor,
  experts: Tensor,
  weights: readonly ExpertWeights[],
  name: Activation,
): { readonly results: Tensor; readonly saved: ExpertBlocks } {
  const blocks = blockRows(experts, weights.length);
  const product = (rows: Tensor, matrix: "w1" | "w2", bias: "b1" | "b2"): Tensor =>
    add(
      matmul(rows, ofBlocks(transpose(stacked(weights, matrix), [0, 2, 1]), blocks)),
      biasOfBlocks(stacked(weights, bias), blocks),
    );
  const own = toBlocks(x, blocks);
  const pre = product(own, "w1", "b1");
  const hidden = activation(name, pre);
  const results = fromBlocks(product(hidden, "w2", "b2"), blocks);
  return { results, saved: { blocks, x: own, pre, hidden } };
}

/**
 * @param g gradient of the output [T, D]
 * @returns gradients of x and of every expert's w1, b1, w2, b2, expert by expert
 */
export function expertBlocksAdjoint(
  g: Tensor,
  gates: Tensor,
  weights: readonly ExpertWeights[],
  { blocks, x, pre, hidden }: ExpertBlocks,
): { readonly dx: Tensor; readonly dWeights: readonly Tensor[] } {
  const u = mul(toBlocks(g, blocks), valuesToBlocks(gates, blocks));
  const dHidden = matmul(u, ofBlocks(stacked(weights, "w2"), blocks));
  const dPre = vectorJacobianProduct([hidden], [dHidden], [pre])[0]!;
  const dx = reduceSum(fromBlocks(matmul(dPre, ofBlocks(stacked(weights, "w1"), blocks)), blocks), [1]);

  const groups = blocksOfGroups(blocks, weights.length);
  /** [NB, ...] summed over the blocks of each expert, in the shape of its weight. */
  const ofExperts = (parts: Tensor, shape: readonly number[]): Tensor[] => {
    const sums = matmul(groups, reshape(parts, [blocks.count, sizeOf(shape)]));
    return weights.map((_, e) => reshape(slice(sums, 0, e, e + 1), shape));
  };
  const [{ w1, b1, w2, b2 }] = weights;
  const kinds = [
    ofExperts(matmul(dPre, x, { transposeA: true }), w1.staticShape),
    ofExperts(reduceSum(dPre, [1]), b1.staticShape),
    ofExperts(matmul(u, hidden, { transposeA: true }), w2.staticShape),
    ofExperts(reduceSum(u, [1]), b2.staticShape),
  ];
  return { dx, dWeights: weights.flatMap((_, e) => kinds.map((kind) => kind[e])) };
}
