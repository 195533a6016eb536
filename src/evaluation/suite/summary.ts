/**
 * @file What the runs of a task come to: means with intervals over held-out documents, and each twin against the others on the same ones.
 *
 *   score = mean over seeds and sources;   ratio = mean of first / mean of second, on the same sources (paired bootstrap, 95 %)
 *
 * What is drawn are documents, with all their sources, as those of one document are alike; and with several seeds seeds, for each twin its
 * own, as a training of another seed is another training for either.
 */
import { mean, type RunScores, resample } from "../../metrics/bootstrap.js";
import { bootstrapRuns, type Interval } from "../../metrics/index.js";
import { seededRandom } from "../statistics.js";
import type { SuiteMetric } from "./suites.js";
import type { TwinRun } from "./twin-run.js";
import type { TwinName } from "./twins.js";

/** A mean score below it is printed as 0.000, and counts as nothing: a ratio over it would be large by chance. */
export const LEAST_SCORE = 0.0005;

/** A ratio of means; null where the second mean is below `LEAST_SCORE`: there is none. Plain JSON. */
export interface RatioInterval {
  readonly ratio: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly first: number;
  readonly second: number;
  /** Sources that both have scores of, and the documents they are from. */
  readonly sources: number;
  readonly groups: number;
}

/** One twin over all seeds. Plain JSON. */
export interface TwinSummary {
  readonly twin: TwinName;
  readonly seeds: number;
  /** Metric -> mean over sources. */
  readonly scores: Readonly<Record<string, Interval>>;
  /** Bits a byte: exact, or at most; null: a continuous process has no such bound. */
  readonly bitsPerByte: number | null;
  readonly exact: boolean;
  /** Nats a token over the noise levels, of the network and of the channel alone; the gain is what context adds. */
  readonly network: number | null;
  readonly channel: number | null;
}

/** Plain JSON. */
export interface TaskSummary {
  readonly twins: readonly TwinSummary[];
  /** The first twin over every other, for every metric but different words, of which shorter texts have more. */
  readonly ratios: readonly {
    readonly metric: string;
    readonly over: TwinName;
    readonly value: RatioInterval;
  }[];
}

const scoresOf = (runs: readonly TwinRun[], metric: string): RunScores =>
  runs.map(({ judged }) => judged.scores[metric]);

/** The first twin's mean score over seeds and sources at each number of steps that was asked for; none: []. */
export function qualityAgainstSteps(
  runs: readonly TwinRun[],
  metric: string,
): { readonly steps: number; readonly score: number }[] {
  const own = runs.filter(({ twin }) => twin === runs[0].twin);
  return own[0].quality.map(({ steps }, i) => ({
    steps,
    score: mean(own.flatMap(({ quality }) => quality[i].judged.scores[metric])),
  }));
}

const RESAMPLES = 2000;
const DIFFERENT_WORDS: SuiteMetric = "distinctWords";

/** mean(first) / mean(second) over the same sources, a run a seed. @param groups the document of each. Default: each source by itself */
export function ratioInterval(
  first: RunScores,
  second: RunScores,
  groups: readonly unknown[] = [...first[0].keys()],
): RatioInterval {
  const [a, b] = [mean(first.flat()), mean(second.flat())];
  const about = { first: a, second: b, sources: first[0].length, groups: new Set(groups).size };
  if (b < LEAST_SCORE) return { ratio: null, low: null, high: null, ...about };
  const samples = resample([first, second], seededRandom(1), { resamples: RESAMPLES, groups });
  // Where the second scores nothing in a sample, the ratio is as large as can be.
  const ratios = Array.from(samples, ({ sums: [x, y], count }) => {
    if (y / count >= LEAST_SCORE) return x / y;
    return x / count < LEAST_SCORE ? 1 : Number.MAX_VALUE;
  }).sort((p, q) => p - q);
  const at = (q: number) => ratios[Math.round(q * (RESAMPLES - 1))];
  const high = at(0.975);
  return { ratio: a / b, low: at(0.025), high: high === Number.MAX_VALUE ? null : high, ...about };
}

/** @param documents the document of every held-out pair */
export function summarise(
  runs: readonly TwinRun[],
  names: readonly TwinName[],
  documents: readonly number[],
): TaskSummary {
  // Which pairs have a score is the same for all twins.
  const groupsOf = (metric: string) => runs[0].judged.scored[metric].map((item) => documents[item]);
  const of = (name: TwinName) => runs.filter(({ twin }) => twin === name);
  const metrics = Object.keys(runs[0].judged.scores);
  const twins = names.map((twin): TwinSummary => {
    const own = of(twin);
    const bounds = own.flatMap(({ loss }) => (loss.bound ? [loss.bound.bitsPerByte.mean] : []));
    const levels = own.flatMap((run) => run.levels.flatMap(({ targets }) => targets ?? []));
    return {
      twin,
      seeds: own.length,
      scores: Object.fromEntries(
        metrics.map((metric) => [
          metric,
          bootstrapRuns(scoresOf(own, metric), seededRandom(1), { groups: groupsOf(metric) }),
        ]),
      ),
      bitsPerByte: bounds.length > 0 ? mean(bounds) : null,
      exact: own[0].exact,
      network: levels.length > 0 ? mean(levels.map(({ model }) => model)) : null,
      channel: levels.length > 0 ? mean(levels.map(({ channel }) => channel)) : null,
    };
  });
  const [first, ...others] = names;
  return {
    twins,
    ratios: others.flatMap((over) =>
      metrics
        .filter((metric) => metric !== DIFFERENT_WORDS)
        .map((metric) => ({
          metric,
          over,
          value: ratioInterval(scoresOf(of(first), metric), scoresOf(of(over), metric), groupsOf(metric)),
        })),
    ),
  };
}
