/**
 * @file How sure a mean is, by resampling (Efron 1979), and whether one system beats another on the same items (Koehn 2004).
 *
 *     interval = quantiles (1 - level) / 2 and (1 + level) / 2 of the means of B samples of n out of n values, with replacement
 *
 * Resample what is independent: documents, not tokens. Values with something in common (several of one document) are drawn together:
 * samples are then of G out of G groups, and their mean is over all values in them.
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

/**
 * Samples of G out of G groups of items, with replacement: for each the sum of every column of values, and how many items it has.
 *
 * @throws UserError when there are not as many groups as values, or a random number is out of range
 */
export function* resample(
  columns: readonly (readonly number[])[],
  random: Random,
  { resamples = 2000, groups }: Pick<BootstrapOptions, "resamples" | "groups"> = {},
): Generator<{ readonly sums: readonly number[]; readonly count: number }> {
  const items = columns[0].length;
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
    sums: columns.map((values) => own.reduce((sum, i) => sum + values[i], 0)),
    count: own.length,
  }));
  for (let b = 0; b < resamples; b++) {
    const sums = columns.map(() => 0);
    let count = 0;
    for (let g = 0; g < drawn.length; g++) {
      const u = random();
      if (!(u >= 0 && u < 1))
        throw new UserError(
          `bootstrap: expected random numbers from 0 to below 1, got ${u}; mend the generator`,
        );
      const one = drawn[Math.floor(u * drawn.length)];
      for (let c = 0; c < sums.length; c++) sums[c] += one.sums[c];
      count += one.count;
    }
    yield { sums, count };
  }
}

/** Means of samples of as many values, or groups of them, as there are. */
const resampledMeans = (values: readonly number[], random: Random, options: BootstrapOptions): Float64Array =>
  Float64Array.from(resample([values], random, options), ({ sums, count }) => sums[0] / count);

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
  check(values, level, resamples);
  return interval(values, resampledMeans(values, random, { resamples, groups }), level);
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
  const means = resampledMeans(differences, random, { resamples, groups });
  const wins = means.reduce((sum, value) => sum + (value > 0 ? 1 : value === 0 ? 0.5 : 0), 0);
  return { ...interval(differences, means, level), firstBetter: wins / resamples };
}
