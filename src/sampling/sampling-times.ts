/**
 * @file At which noise levels the sampler stops, and how fast it releases absorbed positions between them. With x = k / S:
 *
 *     work        W(t_k) = 1 - x,   W(t) = r (g(t) - g(0)) / (g(1) - g(0)) + (1 - r) t,   r = g(1): share absorbed at the start
 *     uniform     t_k = 1 - x
 *     quadratic   t_k = (1 - x)^2: steps get smaller towards the clean text (DDIM's quadratic spacing, arXiv 2010.02502)
 *     log-snr     lambda(t_k) = lambda(1) + x (lambda(0) - lambda(1)),   lambda = log(a / sigma) (arXiv 2206.00927)
 *
 * By work, every step does an equal share of r g(t) + (1 - r) t: releasing where all is absorbed, going on in t where nothing is.
 * With steps even in t alone, the sqrt schedule would leave 28 % of the absorbed positions to the last of 64 steps.
 */
import type { GenerationConfig } from "../config/index.js";
import { DiffusionProcess } from "../diffusion/process.js";
import { UserError } from "../errors.js";
import { halfLogSnr } from "./dpm-solver.js";

export type TimeGrid = GenerationConfig["timeGrid"];

/**
 * The process as a sampler runs it backwards. The sqrt schedule leaves a share g(0) > 0 absorbed even in clean text; a sampler has to
 * write these positions too, and releases them along with the others: P(released) = (g(t) - g(s)) / (g(t) - g(0)).
 */
export class SamplingProcess extends DiffusionProcess {
  /** Probability that a position absorbed at t is released on the way to s <= t. */
  releaseProbability(s: number, t: number): number {
    const [from, to, rest] = [this.absorbed(t), this.absorbed(s), this.absorbed(0)];
    return from > rest ? (from - to) / (from - rest) : Number(from > 0);
  }
}

/**
 * S + 1 times from 1 down to 0: the network runs at all of them but the last.
 * @param cleanTime "log-snr" where the clean text has no noise at all: level that S equal steps would lead to; the last goes to 0 instead
 * @throws UserError for "log-snr" in the masked limit, which has no Gaussian noise
 */
export function samplingTimes(
  process: DiffusionProcess,
  steps: number,
  grid: TimeGrid = "work",
  cleanTime = 0.004,
): Float64Array {
  const inner = innerTimes(process, grid, cleanTime);
  return Float64Array.from({ length: steps + 1 }, (_, k) => {
    if (k === 0) return 1;
    return k === steps ? 0 : inner(k / steps);
  });
}

/** A clean time of 0 would lie infinitely far in log-SNR. */
const MIN_CLEAN_TIME = 1e-3;

/** t after a share x of the way, 0 < x < 1. */
function innerTimes(process: DiffusionProcess, grid: TimeGrid, cleanTime: number): (x: number) => number {
  switch (grid) {
    case "uniform":
      return (x) => 1 - x;
    case "quadratic":
      return (x) => (1 - x) ** 2;
    case "work": {
      const share = process.absorbed(1);
      const rest = process.absorbed(0);
      const work = (t: number) =>
        (share > rest ? (share * (process.absorbed(t) - rest)) / (share - rest) : 0) + (1 - share) * t;
      return (x) => timeWhere((t) => work(t) < 1 - x);
    }
    case "log-snr": {
      if (!process.gaussian)
        throw new UserError(
          'generation.timeGrid: expected "work", "uniform" or "quadratic", got "log-snr"; the masked limit has no Gaussian noise, ' +
            "so no signal-to-noise ratio",
        );
      const start = lambdaAt(process, 1);
      const clean = lambdaAt(process, 0);
      const end =
        clean < Number.POSITIVE_INFINITY ? clean : lambdaAt(process, Math.max(cleanTime, MIN_CLEAN_TIME));
      return (x) => timeAtLambda(process, start + x * (end - start));
    }
    default:
      throw new UserError(
        `generation.timeGrid: expected "work", "uniform", "quadratic" or "log-snr", got "${grid satisfies never}"`,
      );
  }
}

const lambdaAt = (process: DiffusionProcess, t: number): number => halfLogSnr(process.level(t));

const timeAtLambda = (process: DiffusionProcess, lambda: number): number =>
  timeWhere((t) => lambdaAt(process, t) > lambda);

/** The t in [0, 1] at which `below`, true at small t, becomes false (bisection). */
function timeWhere(below: (t: number) => boolean): number {
  let [low, high] = [0, 1];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (below(middle)) low = middle;
    else high = middle;
  }
  return high;
}

/**
 * The times of steps that run the network twice: each of `times` with the middle, in lambda, of the step that begins there. Where a step
 * ends without noise there is no such middle; it is halved in t.
 * @param times K + 1 from high to low @param steps runs of the network, 2 K or 2 K - 1; an odd number leaves the last step undivided
 */
export function withMidpoints(process: DiffusionProcess, times: Float64Array, steps: number): Float64Array {
  return Float64Array.from({ length: steps + 1 }, (_, k) => {
    if (k === steps) return times[times.length - 1];
    const [t, s] = [times[k >> 1], times[(k >> 1) + 1]];
    if (k % 2 === 0) return t;
    const [from, to] = [lambdaAt(process, t), lambdaAt(process, s)];
    const usable = to < Number.POSITIVE_INFINITY && to - from > 1e-9;
    return usable ? timeAtLambda(process, (from + to) / 2) : (t + s) / 2;
  });
}
