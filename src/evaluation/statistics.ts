/**
 * @file Means over tokens with an error over sequences: tokens of one sequence are alike, so sequences are what is counted.
 *
 *     r = sum_i y_i / sum_i x_i,    error^2 = n / (n - 1) * sum_i (y_i - r x_i)^2 / (sum_i x_i)^2        (ratio estimate)
 */
import { CounterRandom, Stream } from "../random/index.js";

/** A mean and how far off it may be by the choice of sequences and noise; null: one sequence, noised once, cannot tell. Plain JSON. */
export interface Estimate {
  readonly mean: number;
  readonly standardError: number | null;
}

/** Collects a total y (nats) and a size x (tokens, bytes) for each sequence. */
export class RatioEstimate {
  private readonly y: number[] = [];
  private readonly x: number[] = [];

  /** Adds one sequence; one without size and total has nothing to say. */
  add(y: number, x: number): void {
    if (x === 0 && y === 0) return;
    this.y.push(y);
    this.x.push(x);
  }

  /** Sum of the sizes. */
  get size(): number {
    return this.x.reduce((a, b) => a + b, 0);
  }

  /** @returns null when there is no size to divide by */
  estimate(): Estimate | null {
    const count = this.x.length;
    const size = this.size;
    if (size === 0) return null;
    const mean = this.y.reduce((a, b) => a + b, 0) / size;
    if (count === 1) return { mean, standardError: null };
    const squares = this.y.reduce((sum, y, i) => sum + (y - mean * this.x[i]) ** 2, 0);
    return { mean, standardError: Math.sqrt((count / (count - 1)) * squares) / size };
  }
}

/** Uniform numbers in [0, 1) of a seed, one after the other: what a bootstrap draws from. */
export function seededRandom(seed: number): () => number {
  const random = new CounterRandom(seed);
  let place = 0;
  return () => random.uniform(Stream.Bootstrap, 0, 0, place++);
}
