/**
 * @file How near two sets of texts lie to each other: the area under their divergence frontier (MAUVE; Pillutla et al. 2021, arXiv 2102.01454).
 *
 *     R_w = w P + (1 - w) Q,     curve(w) = (exp(-c KL(Q || R_w)), exp(-c KL(P || R_w))),  0 < w < 1,  its ends (1, 0) and (0, 1)
 *     score = area under the curve: 1 where P = Q, 5 B(6, 5) = 0.004 at c = 5 where they have nothing in common
 *
 * P and Q are how often the texts of each set fall into each of k clusters, which are found by k-means on both sets together. What makes
 * a text a vector is the caller's: MAUVE itself takes GPT-2's hidden states, so scores of other vectors are MAUVE-like, and compare only
 * with scores of the same vectors, the same number of texts and the same k. Of few texts scores are low even where both sets are drawn
 * from one source: put that score beside them.
 */
import { UserError } from "../errors.js";
import type { Random } from "./bootstrap.js";
import { kMeans, type Vector } from "./k-means.js";
import { checkCount } from "./text.js";

export interface FrontierOptions {
  /** c, how fast a divergence becomes a score. Default 5, as in the paper. */
  readonly scaling?: number;
  /** Values of w. Default 25, as in the authors' code. */
  readonly points?: number;
}

export interface MauveOptions extends FrontierOptions {
  /** k. Default: a tenth of the smaller set, at least 2 (the paper's 500 for 5,000 texts). */
  readonly clusters?: number;
}

/** KL(a || b) in nats; b is above 0 wherever a is. */
const divergence = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, i) => (value > 0 ? sum + value * Math.log(value / b[i]) : sum), 0);

/**
 * Area under the divergence frontier of two distributions over the same outcomes, 0 to 1.
 *
 * @param p probabilities, or counts. [k] @param q the same. [k]
 * @throws UserError when they differ in length, or one of them is no distribution
 */
export function frontierArea(
  p: readonly number[],
  q: readonly number[],
  { scaling = 5, points = 25 }: FrontierOptions = {},
): number {
  checkCount("points", points);
  if (!(scaling > 0)) throw new UserError(`mauve: expected a scaling above 0, got ${scaling}`);
  if (p.length !== q.length)
    throw new UserError(`mauve: expected as many outcomes in both, got ${p.length} and ${q.length}`);
  const [own, other] = [p, q].map(normalised);
  const curve: (readonly [number, number])[] = [[1, 0]];
  for (let i = 0; i < points; i++) {
    const w = points === 1 ? 0.5 : EDGE + ((1 - 2 * EDGE) * i) / (points - 1);
    const mixed = own.map((value, at) => w * value + (1 - w) * other[at]);
    curve.push([Math.exp(-scaling * divergence(other, mixed)), Math.exp(-scaling * divergence(own, mixed))]);
  }
  curve.push([0, 1]);
  let area = 0;
  for (let i = 1; i < curve.length; i++)
    area += ((curve[i - 1][0] - curve[i][0]) * (curve[i - 1][1] + curve[i][1])) / 2;
  return area;
}

/** How far w stays from 0 and 1, where a divergence may be infinite. */
const EDGE = 1e-6;

function normalised(values: readonly number[]): number[] {
  const total = values.reduce((a, b) => a + b, 0);
  if (!(total > 0 && total < Number.POSITIVE_INFINITY) || values.some((value) => !(value >= 0)))
    throw new UserError("mauve: expected numbers from 0, some of them above it, as probabilities or counts");
  return values.map((value) => value / total);
}

/** A text as a vector. */
export type TextVector = Vector;

/**
 * How near `texts` lie to `references`, 0.004 (nothing in common) to 1 (alike).
 *
 * @param texts one vector each. [n, d] @param references one vector each. [m, d]
 * @param random where clusters begin; a seeded one makes the score repeat
 * @throws UserError when a set is empty, or a vector is of another length or not finite
 */
export function mauve(
  texts: readonly TextVector[],
  references: readonly TextVector[],
  random: Random,
  options: MauveOptions = {},
): number {
  const smaller = Math.min(texts.length, references.length);
  if (smaller === 0)
    throw new UserError("mauve: expected at least one text and one reference, got none; write some first");
  const { clusters = Math.max(2, Math.round(smaller / 10)) } = options;
  checkCount("clusters", clusters);
  const all = [...texts, ...references];
  const wrong = all.findIndex(
    (vector) => vector.length !== all[0].length || !Array.prototype.every.call(vector, Number.isFinite),
  );
  if (wrong >= 0)
    throw new UserError(
      `mauve: expected vectors of ${all[0].length} finite numbers; vector ${wrong} is none`,
    );
  const cluster = kMeans(all, clusters, random);
  const counts = [0, texts.length].map((from, set) => {
    const histogram = new Array<number>(clusters).fill(0);
    for (const own of cluster.slice(from, set === 0 ? texts.length : undefined)) histogram[own]++;
    return histogram;
  });
  return frontierArea(counts[0], counts[1], options);
}
