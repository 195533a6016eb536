/**
 * @file Texts as short vectors, learned from texts: latent semantic analysis (Deerwester et al. 1990).
 *
 *     a(text) = unit vector of (1 + ln n) ln((1 + N) / (1 + d)) over the vocabulary, n how often a token occurs in the text, d in how many
 *               of N texts;   v(text) = a(text) B,   B the first r right singular vectors of all a, found by subspace iteration
 *
 * Tokens that occur together lie in one direction, so texts of one subject are near each other though they share few tokens; words drawn
 * at random are near none. Word order says nothing.
 */
import { seededRandom } from "../statistics.js";

/** Tokens of a text that weigh anything, each once. */
interface Weighted {
  readonly ids: readonly number[];
  readonly weights: readonly number[];
}

const RANK = 16;
const ITERATIONS = 8;

export class LatentSemantics {
  private constructor(
    /** ln((1 + N) / (1 + d)) of each token. [vocabSize] */
    private readonly rarity: Float64Array,
    /** B, a direction a row. [RANK, vocabSize] */
    private readonly directions: readonly Float64Array[],
  ) {}

  /** @param texts as ids below `vocabSize` */
  static train(texts: readonly ArrayLike<number>[], vocabSize: number): LatentSemantics {
    const having = new Float64Array(vocabSize);
    for (const ids of texts) for (const id of new Set(Array.from(ids))) having[id]++;
    const rarity = having.map((count) => Math.log((1 + texts.length) / (1 + count)));
    const documents = texts.map((ids) => weighted(ids, rarity));
    const random = seededRandom(1);
    let directions = Array.from({ length: Math.min(RANK, vocabSize) }, () =>
      new Float64Array(vocabSize).map(() => random() - 0.5),
    );
    orthonormalise(directions);
    for (let iteration = 0; iteration < ITERATIONS; iteration++) {
      // A^T A of each, document by document.
      directions = directions.map((direction) => {
        const next = new Float64Array(vocabSize);
        for (const document of documents) {
          const along = project(document, direction);
          for (const [i, id] of document.ids.entries()) next[id] += along * document.weights[i];
        }
        return next;
      });
      orthonormalise(directions);
    }
    return new LatentSemantics(rarity, directions);
  }

  /** A text as a vector; one without a token that weighs anything is 0. [16, or vocabSize if that is less] */
  vector(ids: ArrayLike<number>): number[] {
    const text = weighted(ids, this.rarity);
    return this.directions.map((direction) => project(text, direction));
  }
}

function weighted(ids: ArrayLike<number>, rarity: Float64Array): Weighted {
  const counts = new Map<number, number>();
  for (let i = 0; i < ids.length; i++) counts.set(ids[i], (counts.get(ids[i]) ?? 0) + 1);
  const found = Array.from(counts, ([id, count]) => ({ id, weight: (1 + Math.log(count)) * rarity[id] }));
  const length = Math.sqrt(found.reduce((sum, { weight }) => sum + weight * weight, 0));
  return {
    ids: found.map(({ id }) => id),
    weights: found.map(({ weight }) => (length === 0 ? 0 : weight / length)),
  };
}

function project({ ids, weights }: Weighted, direction: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < ids.length; i++) sum += weights[i] * direction[ids[i]];
  return sum;
}

/** Gram-Schmidt in place; a direction that says nothing new becomes 0. */
function orthonormalise(directions: readonly Float64Array[]): void {
  for (const [i, own] of directions.entries()) {
    const before = Math.sqrt(dot(own, own));
    for (const other of directions.slice(0, i)) {
      const along = dot(own, other);
      for (let k = 0; k < own.length; k++) own[k] -= along * other[k];
    }
    const length = Math.sqrt(dot(own, own));
    const scale = length > 1e-9 * before ? 1 / length : 0;
    for (let k = 0; k < own.length; k++) own[k] *= scale;
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k] * b[k];
  return sum;
}
