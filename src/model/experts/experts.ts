/**
 * @file The experts: dropless computation of every token by the experts it was routed to, as one composite.
 *
 *     out[t] = sum_k gate[t, k] * FFN_{experts[t, k]}(x[t]),     FFN_e(x) = W2_e act(W1_e x + b1_e) + b2_e
 *
 * Each expert gathers its own tokens, however many there are, and runs two matrix products on them (see
 * graph/operators/row-groups.ts for the way there and back). Adjoint, with r the rows of expert e, y_r its outputs, a_r the activations and u_r = gate_r * dout[token r]:
 *
 *     dW2_e = sum_r u_r a_r^T,  db2_e = sum_r u_r,  dh_r = act'(h_r) * (W2_e^T u_r),  dW1_e = sum_r dh_r x_r^T,  db1_e = sum_r dh_r
 *     dx[t] = sum over the slots of t of W1_e^T dh,      dgate[t, k] = <dout[t], y[t, k]>
 */
import {
  type Activation,
  activation,
  activationReference,
  add,
  apply,
  defineComposite,
  fromGroups,
  gather,
  gemm,
  groupRows,
  matmul,
  mul,
  NDArray,
  onesOfGroups,
  type RowGroups,
  reduceSum,
  reshape,
  showShape,
  sizeOf,
  sumRows,
  type Tensor,
  toGroups,
  vectorJacobianProduct,
} from "../../graph/index.js";
import { type ExpertBlocks, expertBlocks, expertBlocksAdjoint } from "./expert-blocks.js";

/** Weights of one expert, laid out [out, in]. */
export interface ExpertWeights {
  /** float32 [F, D] */
  readonly w1: Tensor;
  /** float32 [F] */
  readonly b1: Tensor;
  /** float32 [D, F] */
  readonly w2: Tensor;
  /** float32 [D] */
  readonly b2: Tensor;
}

interface Attributes {
  readonly activation: Activation;
  /** Pieces that an expert's rows are cut into. */
  readonly pieces: number;
}
/**
 * With more rows a product leaves the processor's cache for every panel of its weights: 8,192 x 768 times 768 x 768 on one thread takes
 * 67 ms, in pieces of 2,048 rows 51 (bench/row-slices.ts).
 */
const ROWS = 2048;

/** What one expert's forward pass leaves for its adjoint, of one piece of its rows. */
interface Branch {
  readonly x: Tensor; // [n, D]
  readonly pre: Tensor; // [n, F], before the activation
  readonly hidden: Tensor; // [n, F], after it
}
interface Branches {
  readonly groups: RowGroups;
  readonly branches: readonly Branch[];
}
interface Saved {
  readonly way: Branches | ExpertBlocks;
  readonly results: Tensor; // [T, K, D], before the gates
}

const weightsOf = (inputs: readonly Tensor[]): ExpertWeights[] =>
  Array.from({ length: (inputs.length - 3) / 4 }, (_, e) => {
    const [w1, b1, w2, b2] = inputs.slice(3 + 4 * e, 7 + 4 * e);
    return { w1, b1, w2, b2 };
  });

const expertsOperator = defineComposite<Attributes, Saved>({
  name: "experts",
  infer: (inputs) => {
    const [x, experts, gates] = inputs;
    const [tokens, width] = x.shape;
    if (x.rank !== 2 || experts.dtype !== "int64" || experts.rank !== 2 || experts.shape[0] !== tokens)
      throw new Error(
        `experts: expected x [T, D] and int64 experts [T, K], got ${showShape(x.shape)} and ${experts.dtype}${showShape(experts.shape)}`,
      );
    if (showShape(gates.shape) !== showShape(experts.shape))
      throw new Error(
        `experts: expected one gate a choice, ${showShape(experts.shape)}, got ${showShape(gates.shape)}`,
      );
    for (const [e, { w1, b1, w2, b2 }] of weightsOf(inputs).entries()) {
      const inner = w1.shape[0];
      const got = [w1, b1, w2, b2].map((w) => showShape(w.shape)).join(", ");
      const expected = [[inner, width], [inner], [width, inner], [width]].map(showShape).join(", ");
      if (got !== expected) throw new Error(`experts: expert ${e} expects weights ${expected}, got ${got}`);
    }
    return [{ dtype: "float32", shape: x.shape }];
  },

  lower: (inputs, { activation: name, pieces }, { dynamicShapes }) => {
    const [x, experts, gates] = inputs;
    const [tokens, columns] = experts.staticShape;
    const weights = weightsOf(inputs);
    const { results, saved: way } = dynamicShapes
      ? branchesOf(x, experts, weights, name, pieces)
      : expertBlocks(x, experts, weights, name);
    const out = reshape(matmul(reshape(gates, [tokens, 1, columns]), results), x.staticShape);
    return { outputs: [out], saved: { way, results } };
  },

  adjoint: ([gradient], { inputs, saved: { way, results } }) => {
    const [x, , gates] = inputs;
    const g = gradient!;
    const weights = weightsOf(inputs);
    const [tokens, width] = x.staticShape;
    const { dx, dWeights } =
      "blocks" in way ? expertBlocksAdjoint(g, gates, weights, way) : branchesAdjoint(g, gates, weights, way);
    const dgates = reshape(matmul(results, reshape(g, [tokens, width, 1])), gates.staticShape);
    return [dx, null, dgates, ...dWeights];
  },

  evaluate: (inputs, { activation: name }) => [evaluateExperts(inputs, name)],
});

/** Expert by expert, each on as many rows as it has, in `pieces`. Other arguments and results are those of `expertBlocks`. */
function branchesOf(
  x: Tensor,
  experts: Tensor,
  weights: readonly ExpertWeights[],
  name: Activation,
  pieces: number,
) {
  const groups = groupRows(experts, weights.length, pieces);
  const branches: Branch[] = [];
  const rows = groups.rows.map((ofPiece, i) => {
    const { w1, b1, w2, b2 } = weights[Math.floor(i / pieces)];
    const own = gather(x, ofPiece);
    const pre = gemm(own, w1, b1, { transposeB: true });
    const hidden = activation(name, pre);
    branches.push({ x: own, pre, hidden });
    return gemm(hidden, w2, b2, { transposeB: true });
  });
  return { results: fromGroups(rows, groups), saved: { groups, branches } };
}

/** Arguments and results are those of `expertBlocksAdjoint`. */
function branchesAdjoint(
  g: Tensor,
  gates: Tensor,
  weights: readonly ExpertWeights[],
  { groups, branches }: Branches,
) {
  const shares = toGroups(gates, groups);
  const ones = onesOfGroups(groups);
  const pieces = branches.length / weights.length;
  const rows: Tensor[] = [];
  const dWeights = weights.flatMap(({ w1, w2 }, e) => {
    const own = branches.slice(e * pieces, (e + 1) * pieces).map(({ x, pre, hidden }, i) => {
      const piece = e * pieces + i;
      const u = mul(gather(g, groups.rows[piece]), shares[piece]);
      const dh = vectorJacobianProduct([hidden], [matmul(u, w2)], [pre])[0]!;
      rows.push(matmul(dh, w1));
      return { x, hidden, u, dh, ones: ones[piece] };
    });
    const total = (of: (piece: (typeof own)[number]) => Tensor) => own.map(of).reduce((a, b) => add(a, b));
    return [
      own.reduce<Tensor | null>((sum, { dh, x }) => addProduct(sum, dh, x), null)!,
      total(({ dh, ones }) => sumRows(dh, ones)),
      own.reduce<Tensor | null>((sum, { u, hidden }) => addProduct(sum, u, hidden), null)!,
      total(({ u, ones }) => sumRows(u, ones)),
    ];
  });
  return { dx: reduceSum(fromGroups(rows, groups), [1]), dWeights };
}

/** sum + a^T b */
const addProduct = (sum: Tensor | null, a: Tensor, b: Tensor): Tensor =>
  sum ? gemm(a, b, sum, { transposeA: true }) : matmul(a, b, { transposeA: true });

/** Token by token, choice by choice. */
function evaluateExperts(inputs: readonly NDArray[], name: Activation): NDArray {
  const [x, experts, gates, ...weights] = inputs;
  const [tokens, width] = x.shape;
  const columns = experts.shape[1];
  const numExperts = weights.length / 4;
  const out = NDArray.zeros([tokens, width]);
  for (let t = 0; t < tokens; t++)
    for (let k = 0; k < columns; k++) {
      const e = experts.data[t * columns + k];
      if (e === numExperts) continue;
      const [w1, b1, w2, b2] = weights.slice(4 * e, 4 * e + 4);
      const row = x.data.subarray(t * width, (t + 1) * width);
      const hidden = affine(w1, b1, row).map(activationReference[name]);
      const result = affine(w2, b2, hidden);
      for (let d = 0; d < width; d++) out.data[t * width + d] += gates.data[t * columns + k] * result[d];
    }
  return out;
}

/** W x + b. */
function affine(weight: NDArray, bias: NDArray, x: Float64Array): Float64Array {
  return bias.data.map((start, o) => x.reduce((sum, v, i) => sum + weight.data[o * x.length + i] * v, start));
}

export interface ExpertOptions {
  /** How many choices name an expert, about. Default: all T * K. */
  readonly expected?: number;
  /** About how many rows an expert multiplies at once where their number need not be known in advance. Default: 2,048. */
  readonly rows?: number;
}

/**
 * Every token through its experts, weighted by its gates.
 * @param x float32 [T, D]
 * @param experts int64 [T, K], values in [0, E]; E means "no expert" and adds exactly nothing. No expert twice in a row.
 * @param gates float32 [T, K]
 * @param weights one entry for each of the E experts
 * @param name activation between the two products
 * @returns float32 [T, D]
 */
export const runExperts = (
  x: Tensor,
  experts: Tensor,
  gates: Tensor,
  weights: readonly ExpertWeights[],
  name: Activation,
  { expected = sizeOf(experts.staticShape), rows = ROWS }: ExpertOptions = {},
): Tensor =>
  apply(expertsOperator, [x, experts, gates, ...weights.flatMap(({ w1, b1, w2, b2 }) => [w1, b1, w2, b2])], {
    activation: name,
    pieces: Math.ceil(expected / weights.length / rows),
  } satisfies Attributes)[0];
