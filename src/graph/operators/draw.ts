/**
 * @file Drawing tokens from logits, in the graph: temperature, top-k and top-p, then the inverse distribution function in order of id.
 *
 *     p = softmax(logits / temperature)
 *     kept = the topK likeliest, then the fewest likeliest of those that reach the share topP of their mass
 *     id = the first kept token at which the cumulative mass exceeds uniform * kept mass
 *
 * The probability at which a cut lies is found by halving, in the logarithm: nothing is sorted. So tokens as likely as the last kept one, to
 * 4e-6 of its probability, are kept too, where the definition takes those of smaller id. Rows of V are filled up with zeros to a multiple of
 * 1,024: then all begin at like addresses, and a row's sums have one order wherever it stands.
 */
import { NDArray } from "../ndarray.js";
import { defineComposite } from "../operator.js";
import { apply, constant, type Tensor } from "../tensor.js";
import { showShape } from "../types.js";
import {
  add,
  cast,
  div,
  equal,
  exp,
  greaterOrEqual,
  lessOrEqual,
  log,
  minimum,
  mul,
  sub,
  where,
} from "./elementwise.js";
import { argMax, gatherElements } from "./indexing.js";
import { softmax } from "./normalise.js";
import { cumulativeSum, reduceMax, reduceSum } from "./reduce.js";
import { pad, reshape } from "./shape.js";

/** What tokens are drawn by: float32, of K rows. */
export interface DrawInputs {
  /** [K] in [0, 1): one number a row. */
  readonly uniform: Tensor;
  /** [1] > 0; null: the likeliest token, whatever the others say. */
  readonly temperature: Tensor | null;
  /** [1], from 1 on: draw among so many; null: all. */
  readonly topK: Tensor | null;
  /** [1] in (0, 1); null: 1. */
  readonly topP: Tensor | null;
}

/** Which of them there are. */
interface Attributes {
  readonly cutsCount: boolean;
  readonly cutsMass: boolean;
}

/** The inputs behind the logits, in order. `of`: tensors, or what belongs to them. */
function drawInputs<T>([uniform, temperature, ...rest]: readonly T[], { cutsCount, cutsMass }: Attributes) {
  let next = 0;
  const given = (is: boolean): T | null => (is ? rest[next++] : null);
  return { uniform, temperature, topK: given(cutsCount), topP: given(cutsMass) };
}

const ALIGNED = 1024;
/** Kept mass is summed in strides first. */
const STRIDE = 64;
/** A cut lies within 87 nats of the total, or within 30, and is found to 4e-6. */
const HALVINGS = { count: 25, mass: 23 } as const;
/** Nats from 1 down to the smallest normal float32. */
const RANGE = 87;
/** A little less than 1, so that a goal of all the mass is reached in spite of rounding. */
const BELOW_ONE = 1 - 2 ** -22;

const rowSum = (x: Tensor): Tensor => reduceSum(x, [1], true);
const flags = (condition: Tensor): Tensor => cast(condition, "float32");

/**
 * p [K, V] where it is at least the largest probability for which `enough(what is at least that likely)` holds; 0 elsewhere. It lies between
 * e^-range * total [K, 1] and the total.
 */
function cut(
  p: Tensor,
  total: Tensor,
  range: Tensor | number,
  halvings: number,
  enough: (above: Tensor) => Tensor,
): Tensor {
  let high = log(total);
  let low = sub(high, range);
  for (let i = 0; i < halvings; i++) {
    const middle = mul(add(low, high), 0.5);
    const reached = enough(flags(greaterOrEqual(p, exp(middle))));
    low = where(reached, middle, low);
    high = where(reached, high, middle);
  }
  return mul(p, flags(greaterOrEqual(p, exp(low))));
}

/** The first place along the last axis at which the running sum of x [K, n] exceeds the goal [K, 1], and the sum before it: [K, 1]. */
function firstBeyond(x: Tensor, goal: Tensor): { place: Tensor; before: Tensor } {
  const sums = cumulativeSum(x, 1);
  const passed = flags(lessOrEqual(sums, minimum(goal, mul(reduceMax(sums, [1], true), BELOW_ONE))));
  return { place: rowSum(passed), before: reduceMax(mul(sums, passed), [1], true) };
}

/** What softmax(logits) says of the tokens id [K]: [K]. */
const confidenceOf = (logits: Tensor, id: Tensor): Tensor =>
  reshape(gatherElements(softmax(logits), reshape(id, [null, 1]), 1), [null]);

const drawOperator = defineComposite<Attributes, null>({
  name: "drawTokens",
  infer: ([logits, uniform]) => {
    const rows = logits.shape[0];
    if (logits.rank !== 2 || uniform.rank !== 1 || uniform.shape[0] !== rows)
      throw new Error(
        `drawTokens: expected logits [rows, V] and as many uniform numbers [rows], got ${showShape(logits.shape)} and ${showShape(uniform.shape)}`,
      );
    return [
      { dtype: "int64", shape: [rows] },
      { dtype: "float32", shape: [rows] },
    ];
  },
  lower: ([logits, ...others], attributes) => {
    const { uniform, temperature, topK, topP } = drawInputs(others, attributes);
    const size = logits.shape[1]!;
    const p = softmax(div(logits, temperature));
    const wide = Math.ceil(size / ALIGNED) * ALIGNED;
    let kept = wide === size ? p : pad(p, 1, 0, wide - size);
    if (topK)
      kept = cut(kept, rowSum(kept), RANGE, HALVINGS.count, (above) => greaterOrEqual(rowSum(above), topK));
    if (topP) {
      const all = kept;
      const total = rowSum(all);
      // However the mass is spread, tokens less likely than (1 - topP) / V of it together hold less than 1 - topP. One nat to be sure.
      const range = sub(Math.log(size) + 1, log(sub(1, topP)));
      const goal = mul(total, topP);
      kept = cut(all, total, range, HALVINGS.mass, (above) => greaterOrEqual(rowSum(mul(all, above)), goal));
    }
    const strides = wide / STRIDE;
    const grouped = reshape(kept, [null, strides, STRIDE]);
    const sums = reduceSum(grouped, [2]);
    const goal = mul(rowSum(sums), reshape(uniform, [null, 1]));
    const stride = firstBeyond(sums, goal);
    const numbers = constant(
      Array.from({ length: strides }, (_, i) => i),
      [1, strides],
    );
    const chosen = reshape(flags(equal(numbers, stride.place)), [null, strides, 1]);
    const inside = firstBeyond(reduceSum(mul(grouped, chosen), [1]), sub(goal, stride.before));
    const id = cast(reshape(add(mul(stride.place, STRIDE), inside.place), [null]), "int64");
    return { outputs: [id, confidenceOf(logits, id)], saved: null };
  },
  evaluate: ([logits, ...others], attributes) => {
    const { uniform, temperature, ...cuts } = drawInputs(others, attributes);
    const [topK, topP] = [cuts.topK, cuts.topP].map((x) => (x ? x.data[0] : null));
    const [rows, size] = logits.shape;
    const ids = NDArray.zeros([rows], "int64");
    const confidence = NDArray.zeros([rows]);
    for (let r = 0; r < rows; r++) {
      const row = Array.from(logits.data.subarray(r * size, (r + 1) * size));
      ids.data[r] = drawn(row, uniform.data[r], temperature.data[0], topK ?? size, topP ?? 1);
      const top = Math.max(...row);
      const total = row.reduce((sum, x) => sum + Math.exp(x - top), 0);
      confidence.data[r] = Math.exp(row[ids.data[r]] - top) / total;
    }
    return [ids, confidence];
  },
});

/** The definition, by sorting. */
function drawn(
  logits: readonly number[],
  uniform: number,
  temperature: number,
  topK: number,
  topP: number,
): number {
  const top = Math.max(...logits);
  const ranked = logits
    .map((x, id) => ({ id, x, mass: Math.exp((x - top) / temperature) }))
    .sort((a, b) => b.x - a.x || a.id - b.id);
  let kept = ranked.slice(0, topK);
  const massOf = (tokens: typeof kept) => tokens.reduce((sum, { mass }) => sum + mass, 0);
  if (topP < 1) {
    const goal = topP * massOf(kept);
    let sum = 0;
    const last = kept.findIndex(({ mass }) => {
      sum += mass;
      return sum >= goal;
    });
    if (last >= 0) kept = kept.slice(0, last + 1);
  }
  const goal = uniform * massOf(kept);
  let sum = 0;
  const inOrder = kept.sort((a, b) => a.id - b.id);
  const found = inOrder.find(({ mass }) => {
    sum += mass;
    return sum > goal;
  });
  return (found ?? inOrder[inOrder.length - 1]).id;
}

/**
 * A token for every row of logits float32 [K, V]; K may be unknown, but two at least. Gives ids int64 [K] and what softmax(logits) says of
 * them, float32 [K]. Not differentiable.
 */
export function drawTokens(
  logits: Tensor,
  { uniform, temperature, topK, topP }: DrawInputs,
): { readonly id: Tensor; readonly confidence: Tensor } {
  if (temperature === null) {
    const likeliest = reshape(argMax(logits), [logits.shape[0]]);
    return { id: likeliest, confidence: confidenceOf(logits, likeliest) };
  }
  const given = [temperature, topK, topP].filter((x) => x !== null);
  const [id, confidence] = apply(drawOperator, [logits, uniform, ...given], {
    cutsCount: topK !== null,
    cutsMass: topP !== null,
  } satisfies Attributes);
  return { id, confidence };
}
