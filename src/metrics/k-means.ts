/** @file Clusters of vectors: Lloyd's k-means from k-means++ seeds (Arthur & Vassilvitskii 2007), the best of five starts. */
import type { Random } from "./bootstrap.js";

export type Vector = ArrayLike<number>;

/** Starts of k-means, of which the one with the least distances counts, and rounds of each at most. */
const STARTS = 5;
const MOST_ROUNDS = 100;

/** The cluster of each vector, by number; some clusters may stay empty. */
export function kMeans(vectors: readonly Vector[], clusters: number, random: Random): number[] {
  const tries = Array.from({ length: STARTS }, () => clustered(vectors, clusters, random));
  return tries.reduce((best, one) => (one.distance < best.distance ? one : best)).cluster;
}

/**
 * One try: the cluster of each vector, and the sum of squared distances from their centres.
 */
function clustered(
  vectors: readonly Vector[],
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
function seeds(vectors: readonly Vector[], clusters: number, random: Random): Float64Array[] {
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
  vector: Vector,
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
