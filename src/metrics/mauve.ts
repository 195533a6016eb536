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
export type TextVector = ArrayLike<number>;

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
  const tries = Array.from({ length: STARTS }, () => clustered(all, clusters, random));
  const { cluster } = tries.reduce((best, one) => (one.distance < best.distance ? one : best));
  const counts = [0, texts.length].map((from, set) => {
    const histogram = new Array<number>(clusters).fill(0);
    for (const own of cluster.slice(from, set === 0 ? texts.length : undefined)) histogram[own]++;
    return histogram;
  });
  return frontierArea(counts[0], counts[1], options);
}

/** Starts of k-means, of which the one with the least distances counts, and rounds of each at most. */
const STARTS = 5;
const MOST_ROUNDS = 100;

/**
 * Lloyd's k-means from k-means++ seeds (Arthur & Vassilvitskii 2007): the cluster of each vector, of which some may stay empty, and the
 * sum of squared distances from their centres.
 */
function clustered(
  vectors: readonly TextVector[],
  clusters: number,
  random: Random,
): { readonly cluster: number[]; readonly distance: number } {
  const centres = seeds(vectors, clusters, random);
  let cluster: number[] = [];
  let distance = Number.POSITIVE_INFINITY;
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const nearest = vectors.map((vector) => nearestOf(vector, centres));
    const settled = nearest.every(({ index }, i) => index === cluster[i]);
    cluster = nearest.map(({ index }) => index);
    distance = nearest.reduce((sum, one) => sum + one.distance, 0);
    if (settled) break;
    for (const [index, centre] of centres.entries()) {
      const own = vectors.filter((_, i) => cluster[i] === index);
      if (own.length === 0) continue;
      for (let d = 0; d < centre.length; d++)
        centre[d] = own.reduce((sum, vector) => sum + vector[d], 0) / own.length;
    }
  }
  return { cluster, distance };
}

/** The first centre at random, each further one with probability in proportion to its squared distance from those there are. */
function seeds(vectors: readonly TextVector[], clusters: number, random: Random): Float64Array[] {
  const centres = [Float64Array.from(vectors[Math.floor(random() * vectors.length)])];
  while (centres.length < clusters) {
    const distances = vectors.map((vector) => nearestOf(vector, centres).distance);
    const total = distances.reduce((a, b) => a + b, 0);
    if (total === 0) break; // fewer different vectors than clusters
    let left = random() * total;
    let chosen = 0;
    for (; chosen < distances.length - 1 && left >= distances[chosen]; chosen++) left -= distances[chosen];
    centres.push(Float64Array.from(vectors[chosen]));
  }
  return centres;
}

function nearestOf(
  vector: TextVector,
  centres: readonly Float64Array[],
): { readonly index: number; readonly distance: number } {
  let [index, least] = [0, Number.POSITIVE_INFINITY];
  for (const [i, centre] of centres.entries()) {
    let distance = 0;
    for (let d = 0; d < centre.length; d++) distance += (vector[d] - centre[d]) ** 2;
    if (distance < least) [index, least] = [i, distance];
  }
  return { index, distance: least };
}
