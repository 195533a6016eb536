/**
 * @file Means over tokens with an error over documents: tokens of one document are alike, also those of its pieces in other sequences, so
 * documents i are what is counted.
 *
 *     r = sum_i y_i / sum_i x_i,    error^2 = n / (n - 1) * sum_i (y_i - r x_i)^2 / (sum_i x_i)^2        (ratio estimate)
 */
import { CounterRandom, Stream } from "../random/index.js";

/** A mean and how far off it may be by the choice of documents and noise; null: one document, noised once, cannot tell. Plain JSON. */
export interface Estimate {
  readonly mean: number;
  readonly standardError: number | null;
}

/** Collects a total y (nats) and a size x (tokens, bytes) for each document, or whatever else is independent. */
export class RatioEstimate {
  private readonly sums = new Map<number, { y: number; x: number }>();

  /** Adds a part of a document, known by its number; a part without size and total has nothing to say. */
  add(document: number, y: number, x: number): void {
    if (x === 0 && y === 0) return;
    const sum = this.sums.get(document);
    if (!sum) {
      this.sums.set(document, { y, x });
      return;
    }
    sum.y += y;
    sum.x += x;
  }

  /** Sum of the sizes. */
  get size(): number {
    return this.total(({ x }) => x);
  }

  private total(value: (sum: { readonly y: number; readonly x: number }) => number): number {
    let total = 0;
    for (const sum of this.sums.values()) total += value(sum);
    return total;
  }

  /** @returns null when there is no size to divide by */
  estimate(): Estimate | null {
    const count = this.sums.size;
    const size = this.size;
    if (size === 0) return null;
    const mean = this.total(({ y }) => y) / size;
    if (count === 1) return { mean, standardError: null };
    const squares = this.total(({ y, x }) => (y - mean * x) ** 2);
    return { mean, standardError: Math.sqrt((count / (count - 1)) * squares) / size };
  }
}

/** Uniform numbers in [0, 1) of a seed, one after the other: what a bootstrap draws from. */
export function seededRandom(seed: number): () => number {
  const random = new CounterRandom(seed);
  let place = 0;
  return () => random.uniform(Stream.Bootstrap, 0, 0, place++);
}
