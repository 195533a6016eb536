/** @file Times and their spread: medians, quartiles, and ratios of sides that took turns. */
import { seededRandom } from "../evaluation/statistics.js";
import { mean, quantile, resample } from "../metrics/bootstrap.js";
import { bootstrapInterval, type Interval } from "../metrics/index.js";

/** In the unit of the values. Plain JSON. */
export interface Spread {
  readonly median: number;
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
}

/** In any order. */
export const median = (values: readonly number[]): number => spreadOf(values).median;

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const [lowerQuartile, middle, upperQuartile] = [0.25, 0.5, 0.75].map((q) => quantile(sorted, q));
  return { median: middle, lowerQuartile, upperQuartile };
}

/**
 * How many times as long the second side takes as the first: the geometric mean over rounds of the ratio of their medians, in which what
 * a round had in common cancels, with its bootstrap interval over rounds (95 %; of one round it is a point).
 * @param first, second milliseconds by round
 */
export function ratioOfRounds(
  first: readonly (readonly number[])[],
  second: readonly (readonly number[])[],
): Interval {
  const logs = first.map((values, round) => Math.log(median(second[round]) / median(values)));
  const ratio = bootstrapInterval(logs, seededRandom(1));
  return { mean: Math.exp(ratio.mean), low: Math.exp(ratio.low), high: Math.exp(ratio.high) };
}

/** The same of two sides that did not take turns: the rounds of each are drawn by themselves, and nothing cancels. */
export function ratioOfParts(
  first: readonly (readonly number[])[],
  second: readonly (readonly number[])[],
): Interval {
  const random = seededRandom(1);
  const [own, other] = [first, second].map((rounds) => {
    const logs = rounds.map((values) => Math.log(median(values)));
    return {
      log: mean(logs),
      samples: Array.from(resample([[logs]], random), ({ sums, count }) => sums[0] / count),
    };
  });
  const ratios = own.samples.map((sample, i) => Math.exp(other.samples[i] - sample)).sort((a, b) => a - b);
  return { mean: Math.exp(other.log - own.log), low: quantile(ratios, 0.025), high: quantile(ratios, 0.975) };
}
