/** @file Times and their spread: medians, quartiles, and ratios of sides that took turns. */
import { seededRandom } from "../evaluation/statistics.js";
import { bootstrapInterval, type Interval } from "../metrics/index.js";

/** In the unit of the values. Plain JSON. */
export interface Spread {
  readonly median: number;
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
}

/** The q-quantile, interpolated linearly. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const place = q * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

export const spreadOf = (values: readonly number[]): Spread => ({
  median: quantile(values, 0.5),
  lowerQuartile: quantile(values, 0.25),
  upperQuartile: quantile(values, 0.75),
});

/**
 * How many times as long the second side takes as the first: the geometric mean over rounds of the ratio of their medians, in which what
 * a round had in common cancels, with its bootstrap interval over rounds (95 %; of one round it is a point).
 * @param first, second milliseconds by round
 */
export function ratioOfRounds(
  first: readonly (readonly number[])[],
  second: readonly (readonly number[])[],
): Interval {
  const logs = first.map((values, round) => Math.log(quantile(second[round], 0.5) / quantile(values, 0.5)));
  const { mean, low, high } = bootstrapInterval(logs, seededRandom(1));
  return { mean: Math.exp(mean), low: Math.exp(low), high: Math.exp(high) };
}
