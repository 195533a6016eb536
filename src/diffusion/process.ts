/**
 * @file The soft absorbing process on target positions, around the absorbing state m in R^D:
 *
 *     z_t = m                                  with probability g(t)  (absorbed, and absorbed it stays as t grows)
 *     z_t = m + a_t (x0 - m) + sigma_t eps     otherwise              (Gaussian branch)
 *
 *     g(t) = absorbRate * s_t,    sigma_t^2 = (a_t sigma_0)^2 + (noiseScale * s_t)^2
 *
 * a_t, s_t come from the schedule. noiseScale > 1 explodes the variance of the Gaussian branch (the signal stays as
 * it is); it does not touch g. x0 is the embedding of a token; DiffuSeq adds noise of the step-0 deviation to it, and
 * as the sum of two Gaussians is one, that noise is folded into sigma_t (sigma_0 = noiseScale * s_0; 0 for the cosine
 * and linear schedules, whose s_0 is 0). The chain stays Markov: sigma_t^2 - (a_t / a_s)^2 sigma_s^2 does not depend
 * on sigma_0. So everything below is stated in a_t and the *total* sigma_t, and noise scale and step-0 noise are in it.
 *
 * Masked limit (gaussian false): z_t = x0 until absorbed, g(t) = absorbRate * (1 - keep(t)), which is t when linear.
 */
import type { DiffusionConfig } from "../config/diffusion-config.js";
import { UserError } from "../errors.js";
import { checkRange, checkTime, createSchedule, type Schedule } from "./schedule.js";

/** The channel precision a / sigma^2 is computed with at least this variance, so that logits made of it stay small. */
export const MIN_CHANNEL_VARIANCE = 0.05;

/** What `DiffusionProcess` needs to know; the fields are those of the configuration. */
export interface ProcessOptions
  extends Pick<DiffusionConfig, "schedule" | "absorbRate" | "gaussian" | "noiseScale"> {
  /** sigma_0, deviation of the noise on x0 itself. Default: noiseScale * s_0, as in DiffuSeq. */
  startDeviation?: number;
}

/** The process at one time t: the coefficients of its two branches. */
export interface NoiseLevel {
  /** t in [0, 1]. */
  readonly time: number;
  /** a_t: factor on x0 - m in the Gaussian branch (1 in the masked limit). */
  readonly signal: number;
  /** sigma_t: total deviation of the Gaussian branch, noise scale and step-0 noise included (0 in the masked limit). */
  readonly sigma: number;
  /** g(t): probability that a target position is absorbed. */
  readonly absorbed: number;
  /**
   * a_t / sigma_t^2 (0 in the masked limit), variance at least 0.05: token v's log-likelihood given z is, for
   * codebooks of equal row norms, channel * <z - (1 - a_t) m, E_v> + constant.
   */
  readonly channel: number;
}

/** q(z_s | z_t, x0) = N(m + x0Coefficient (x0 - m) + zCoefficient (z_t - m), variance I). */
export interface Posterior {
  readonly x0Coefficient: number;
  readonly zCoefficient: number;
  readonly variance: number;
}

/** The forward process of a configuration: marginals, posterior, bound weight. */
export class DiffusionProcess {
  readonly schedule: Schedule;
  readonly gaussian: boolean;
  readonly absorbRate: number;
  readonly noiseScale: number;
  /** sigma_0. */
  readonly startDeviation: number;

  /** @throws UserError for an option out of its range */
  constructor(options: ProcessOptions) {
    checkRange("absorbRate", options.absorbRate, 0, 1);
    checkRange("noiseScale", options.noiseScale, 0, Number.MAX_VALUE);
    checkRange("startDeviation", options.startDeviation ?? 0, 0, Number.MAX_VALUE);
    this.schedule = createSchedule(options.schedule);
    this.gaussian = options.gaussian;
    this.absorbRate = options.absorbRate;
    this.noiseScale = options.noiseScale;
    this.startDeviation = options.startDeviation ?? options.noiseScale * this.schedule.deviation(0);
  }

  /** g(t): probability that a target position is absorbed at time t. */
  absorbed(t: number): number {
    checkTime(t);
    return this.absorbRate * (this.gaussian ? this.schedule.deviation(t) : 1 - this.schedule.keep(t));
  }

  /** a_t and total sigma_t of the Gaussian branch, with g(t) and the channel precision. */
  level(t: number): NoiseLevel {
    const absorbed = this.absorbed(t);
    if (!this.gaussian) return { time: t, signal: 1, sigma: 0, absorbed, channel: 0 };
    const signal = this.schedule.signal(t);
    const sigma = Math.hypot(signal * this.startDeviation, this.noiseScale * this.schedule.deviation(t));
    const channel = signal / Math.max(sigma * sigma, MIN_CHANNEL_VARIANCE);
    return { time: t, signal, sigma, absorbed, channel };
  }

  /**
   * The Gaussian branch one step back, from t to s <= t, given x0. With r = a_t / a_s and v = sigma_t^2 - r^2 sigma_s^2:
   * x0Coefficient = a_s v / sigma_t^2, zCoefficient = r sigma_s^2 / sigma_t^2, variance = v sigma_s^2 / sigma_t^2.
   */
  posterior(s: number, t: number): Posterior {
    checkStep(s, t);
    if (!this.gaussian) {
      throw new UserError("The masked limit has no Gaussian posterior: its positions are absorbed or clean.");
    }
    const to = this.level(s);
    const from = this.level(t);
    if (from.sigma === 0) return { x0Coefficient: 0, zCoefficient: 1, variance: 0 };
    const ratio = from.signal / to.signal;
    const before = to.sigma ** 2;
    const after = from.sigma ** 2;
    const step = Math.max(0, after - ratio * ratio * before);
    return {
      x0Coefficient: (to.signal * step) / after,
      zCoefficient: (ratio * before) / after,
      variance: (step * before) / after,
    };
  }

  /** Masked limit: -keep'(t) / (1 - keep(t)), the weight that makes the cross entropy a bound (1/t when linear). */
  elboWeight(t: number): number {
    checkTime(t);
    if (this.gaussian || t === 0) {
      throw new UserError(
        `The bound's weight exists in the masked limit at t > 0 (gaussian ${this.gaussian}, t ${t}).`,
      );
    }
    return -this.schedule.keepSlope(t) / (1 - this.schedule.keep(t));
  }

  /** Mean of g over t uniform in [minTime, 1] (midpoint rule; 1e-4 or better). */
  meanAbsorbed(minTime: number): number {
    const points = 256;
    let sum = 0;
    for (let i = 0; i < points; i++) sum += this.absorbed(minTime + ((1 - minTime) * (i + 0.5)) / points);
    return sum / points;
  }
}

type Floats = Float32Array | Float64Array;

/**
 * z = m + a (x0 - m) + sigma eps.
 * @param x0 [N, D] @param eps [N, D] standard normal @param m [D] @param out [N, D], may be one of the inputs
 */
export function diffuse<T extends Floats>(x0: T, eps: T, m: T, level: NoiseLevel, out: T): T {
  const width = m.length;
  for (let i = 0; i < out.length; i++) {
    const centre = m[i % width];
    out[i] = centre + level.signal * (x0[i] - centre) + level.sigma * eps[i];
  }
  return out;
}

/**
 * The noise in z when the clean value is x0: eps = (z - m - a (x0 - m)) / sigma; 0 where sigma is 0.
 * @param z [N, D] @param x0 [N, D] @param m [D] @param out [N, D], may be one of the inputs
 */
export function noiseFromX0<T extends Floats>(z: T, x0: T, m: T, level: NoiseLevel, out: T): T {
  const width = m.length;
  const scale = level.sigma === 0 ? 0 : 1 / level.sigma;
  for (let i = 0; i < out.length; i++) {
    const centre = m[i % width];
    out[i] = (z[i] - centre - level.signal * (x0[i] - centre)) * scale;
  }
  return out;
}

/**
 * The clean value in z when the noise is eps: x0 = m + (z - m - sigma eps) / a.
 * @param z [N, D] @param eps [N, D] @param m [D] @param out [N, D], may be one of the inputs
 */
export function x0FromNoise<T extends Floats>(z: T, eps: T, m: T, level: NoiseLevel, out: T): T {
  const width = m.length;
  for (let i = 0; i < out.length; i++) {
    const centre = m[i % width];
    out[i] = centre + (z[i] - centre - level.sigma * eps[i]) / level.signal;
  }
  return out;
}

function checkStep(s: number, t: number): void {
  checkTime(s);
  checkTime(t);
  if (s > t) throw new UserError(`A step back in time goes from t to s <= t, got t ${t}, s ${s}.`);
}
