/**
 * @file What the runs of a task come to: means with intervals over held-out sources, and each twin against the others on the same ones.
 *
 *   score of source i = mean over seeds;   ratio = mean of first / mean of second, sources drawn together (paired bootstrap, 95 %)
 */
import { bootstrapInterval, type Interval } from "../../metrics/index.js";
import { seededRandom } from "../statistics.js";
import type { TwinRun } from "./twin-run.js";
import type { TwinName } from "./twins.js";

/** A ratio of means; null where the second mean is 0: there is none. Plain JSON. */
export interface RatioInterval {
  readonly ratio: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly first: number;
  readonly second: number;
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
  /** The first twin over every other, for every metric. */
  readonly ratios: readonly {
    readonly metric: string;
    readonly over: TwinName;
    readonly value: RatioInterval;
  }[];
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Scores of each source, averaged over seeds. */
function overSeeds(runs: readonly TwinRun[], metric: string): number[] {
  const scores = runs.map(({ judged }) => judged.scores[metric]);
  return scores[0].map((_, item) => mean(scores.map((own) => own[item])));
}

const RESAMPLES = 2000;

/** mean(first) / mean(second) over the same sources. */
export function ratioInterval(first: readonly number[], second: readonly number[]): RatioInterval {
  const [a, b] = [mean(first), mean(second)];
  if (b === 0) return { ratio: null, low: null, high: null, first: a, second: b };
  const random = seededRandom(1);
  const ratios: number[] = [];
  for (let sample = 0; sample < RESAMPLES; sample++) {
    let [x, y] = [0, 0];
    for (let i = 0; i < first.length; i++) {
      const item = Math.floor(random() * first.length);
      x += first[item];
      y += second[item];
    }
    // No hit of the second in this sample: the ratio is as large as can be.
    ratios.push(y === 0 ? (x === 0 ? 1 : Number.MAX_VALUE) : x / y);
  }
  ratios.sort((p, q) => p - q);
  const at = (q: number) => ratios[Math.round(q * (RESAMPLES - 1))];
  const high = at(0.975);
  return { ratio: a / b, low: at(0.025), high: high === Number.MAX_VALUE ? null : high, first: a, second: b };
}

export function summarise(runs: readonly TwinRun[], names: readonly TwinName[]): TaskSummary {
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
        metrics.map((metric) => [metric, bootstrapInterval(overSeeds(own, metric), seededRandom(1))]),
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
      metrics.map((metric) => ({
        metric,
        over,
        value: ratioInterval(overSeeds(of(first), metric), overSeeds(of(over), metric)),
      })),
    ),
  };
}
