/**
 * @file How sure a mean is, by resampling (Efron 1979), and whether one system beats another on the same items (Koehn 2004).
 *
 *     interval = quantiles (1 - level) / 2 and (1 + level) / 2 of the means of B samples of n out of n values, with replacement
 *
 * Resample what is independent: documents, not tokens. Values with something in common (several of one document) are drawn together:
 * samples are then of G out of G groups, and their mean is over all values in them. Several runs (training seeds) that were scored on the
 * same items are drawn as well, R out of R, so that the interval knows of both; of few runs it is too narrow, by sqrt((R - 1) / R).
 */
import { UserError } from "../errors.js";
import { checkCount } from "./text.js";

/** A source of uniform numbers in [0, 1), such as `Math.random` or, to be repeatable, a seeded one. */
export type Random = () => number;

export interface BootstrapOptions {
  /** Share of the resampled means within the interval, between 0 and 1. Default 0.95. */
  readonly level?: number;
  /** Samples drawn. Default 2000. */
  readonly resamples?: number;
  /** The group of each value, by any name or number. Default: each value by itself. */
  readonly groups?: readonly unknown[] | undefined;
}

/** In the unit of the values. Plain JSON. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** Mean of first - second. Plain JSON. */
export interface PairedDifference extends Interval {
  /** Share of the samples in which the first has the larger mean, equal means counting half: 0 to 1. */
  readonly firstBetter: number;
}

/** The q-quantile of sorted values, interpolated linearly. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  const place = q * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

function check(values: readonly number[], level: number, resamples: number): void {
  if (values.length === 0)
    throw new UserError("bootstrap: expected at least one value, got none; score some texts first");
  const wrong = values.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0)
    throw new UserError(
      `bootstrap: expected finite values, got ${values[wrong]} at place ${wrong}; leave it out or mend the score`,
    );
  if (!(level > 0 && level < 1))
    throw new UserError(`bootstrap: expected a level between 0 and 1, such as 0.95, got ${level}`);
  checkCount("resamples", resamples);
}

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Scores of the same items by several runs: `scores[run][item]`. */
export type RunScores = readonly (readonly number[])[];

/**
 * Samples of G out of G groups of items, with replacement, and of R out of R runs of every column, each column's own: for each the sum of
 * every column over items, a mean over its runs, and how many items it has. One run is taken as it is, without a random number.
 *
 * @throws UserError when there are not as many groups as values, or a random number is out of range
 */
export function* resample(
  columns: readonly RunScores[],
  random: Random,
  { resamples = 2000, groups }: Pick<BootstrapOptions, "resamples" | "groups"> = {},
): Generator<{ readonly sums: readonly number[]; readonly count: number }> {
  const items = columns[0][0].length;
  if (groups && groups.length !== items)
    throw new UserError(`bootstrap: expected a group for each of ${items} values, got ${groups.length}`);
  const places = new Map<unknown, number[]>();
  for (let i = 0; i < items; i++) {
    const group = groups ? groups[i] : i;
    const known = places.get(group);
    if (known) known.push(i);
    else places.set(group, [i]);
  }
  const drawn = [...places.values()].map((own) => ({
    sums: columns.map((runs) => runs.map((values) => own.reduce((sum, i) => sum + values[i], 0))),
    count: own.length,
  }));
  const below = (n: number): number => {
    const u = random();
    if (!(u >= 0 && u < 1))
      throw new UserError(
        `bootstrap: expected random numbers from 0 to below 1, got ${u}; mend the generator`,
      );
    return Math.floor(u * n);
  };
  for (let b = 0; b < resamples; b++) {
    const taken = drawn.map(() => drawn[below(drawn.length)]);
    const sums = columns.map((runs, c) => {
      const chosen = runs.map((_, run) => (runs.length === 1 ? run : below(runs.length)));
      return mean(chosen.map((run) => taken.reduce((sum, one) => sum + one.sums[c][run], 0)));
    });
    yield { sums, count: taken.reduce((sum, one) => sum + one.count, 0) };
  }
}

/** Means of samples of as many values, or groups of them, as there are. */
const resampledMeans = (runs: RunScores, random: Random, options: BootstrapOptions): Float64Array =>
  Float64Array.from(resample([runs], random, options), ({ sums, count }) => sums[0] / count);

function interval(values: readonly number[], means: Float64Array, level: number): Interval {
  const sorted = means.toSorted();
  return {
    mean: mean(values),
    low: quantile(sorted, (1 - level) / 2),
    high: quantile(sorted, (1 + level) / 2),
  };
}

/**
 * The mean of `values` with a percentile interval. Equal random numbers give equal intervals; n * resamples of them are drawn, or as
 * many as there are groups. The interval is too narrow for few values or groups (of one it is a point).
 *
 * @throws UserError when there is no value, one is not finite, or an option or a random number is out of range
 */
export function bootstrapInterval(
  values: readonly number[],
  random: Random,
  { level = 0.95, resamples = 2000, groups }: BootstrapOptions = {},
): Interval {
  return bootstrapRuns([values], random, { level, resamples, groups });
}

/**
 * The mean of several runs' scores with a percentile interval over items and runs, as `bootstrapInterval` gives it for one run. All runs
 * have a score of every item, in the same order.
 *
 * @throws UserError when runs differ in length, there is none, and as `bootstrapInterval`
 */
export function bootstrapRuns(
  runs: RunScores,
  random: Random,
  { level = 0.95, resamples = 2000, groups }: BootstrapOptions = {},
): Interval {
  const values = runs.flat();
  check(values, level, resamples);
  const odd = runs.find((one) => one.length !== runs[0].length);
  if (odd)
    throw new UserError(
      `bootstrap: expected a score of every item by every run, got ${runs[0].length} and ${odd.length}; score all runs on the same items`,
    );
  return interval(values, resampledMeans(runs, random, { resamples, groups }), level);
}

/**
 * The mean difference first - second of two systems' scores on the same items, with its interval: entry i of both belongs to item
 * i, and items are drawn with both their scores, so what makes an item hard for both cancels.
 *
 * @throws UserError when the lengths differ, and as `bootstrapInterval`
 */
export function pairedBootstrap(
  first: readonly number[],
  second: readonly number[],
  random: Random,
  { level = 0.95, resamples = 2000, groups }: BootstrapOptions = {},
): PairedDifference {
  if (first.length !== second.length)
    throw new UserError(
      `bootstrap: expected a pair of scores for every item, got ${first.length} and ${second.length}; score both systems on the same items`,
    );
  const differences = first.map((value, i) => value - second[i]);
  check(differences, level, resamples);
  const means = resampledMeans([differences], random, { resamples, groups });
  const wins = means.reduce((sum, value) => sum + (value > 0 ? 1 : value === 0 ? 0.5 : 0), 0);
  return { ...interval(differences, means, level), firstBetter: wins / resamples };
}
