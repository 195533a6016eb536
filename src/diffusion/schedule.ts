/**
 * @file Noise schedules: alpha_bar(t), the share of the signal's variance left at time t in [0, 1].
 *
 *     signal a_t = sqrt(alpha_bar(t)),   deviation s_t = sqrt(1 - alpha_bar(t)),   log-SNR = log(alpha_bar / (1 - alpha_bar))
 *
 * sqrt (Diffusion-LM, arXiv 2205.14217; DiffuSeq, 2210.08933): 1 - sqrt(t + 1e-4);
 * cosine (2102.09672): cos^2 of the angle from 0.008 to 1, over its value at 0; linear: 1 - t.
 * alpha_bar is kept in [1e-4, 1], so that every division by a_t is safe. The masked limit wants exact ends instead
 * (nothing masked at 0, everything at 1): `keep(t)` is the same curve without the 1e-4 and the clamp.
 */
import type { DiffusionConfig } from "../config/diffusion-config.js";
import { UserError } from "../errors.js";

export type ScheduleName = DiffusionConfig["schedule"];

/** alpha_bar never falls below this: a_t >= 0.01. */
export const MIN_ALPHA_BAR = 1e-4;

/** One noise schedule. All times are in [0, 1]; 0 is clean, 1 is full noise. */
export abstract class Schedule {
  abstract readonly name: ScheduleName;

  /** alpha_bar(t) before the clamp. */
  protected abstract curve(t: number): number;
  /** The t at which `curve` has the given value. */
  protected abstract inverse(alphaBar: number): number;
  /** Probability that a token is still visible at t in the masked limit: 1 at t = 0, 0 at t = 1. */
  abstract keep(t: number): number;
  /** d keep / d t, never positive. */
  abstract keepSlope(t: number): number;

  /** alpha_bar(t), in [1e-4, 1], never rising. */
  alphaBar(t: number): number {
    checkTime(t);
    return Math.min(1, Math.max(MIN_ALPHA_BAR, this.curve(t)));
  }

  /** a_t = sqrt(alpha_bar(t)): the factor on the signal. */
  signal(t: number): number {
    return Math.sqrt(this.alphaBar(t));
  }

  /** s_t = sqrt(1 - alpha_bar(t)): the deviation of the noise before any noise scale. */
  deviation(t: number): number {
    return Math.sqrt(1 - this.alphaBar(t));
  }

  /** log(alpha_bar / (1 - alpha_bar)); Infinity where there is no noise. */
  logSnr(t: number): number {
    const alphaBar = this.alphaBar(t);
    return Math.log(alphaBar / (1 - alphaBar));
  }

  /** The time at which alpha_bar has this value; values the curve does not reach give the nearest end, 0 or 1. */
  timeOf(alphaBar: number): number {
    return Math.min(1, Math.max(0, this.inverse(alphaBar)));
  }
}

class SqrtSchedule extends Schedule {
  readonly name = "sqrt";
  /** DiffuSeq's offset: the noise begins at a deviation of 0.1, not at 0. */
  private readonly offset = 1e-4;
  protected curve(t: number): number {
    return 1 - Math.sqrt(t + this.offset);
  }
  protected inverse(alphaBar: number): number {
    return (1 - alphaBar) ** 2 - this.offset;
  }
  keep(t: number): number {
    return 1 - Math.sqrt(t);
  }
  keepSlope(t: number): number {
    return -0.5 / Math.sqrt(t);
  }
}

class CosineSchedule extends Schedule {
  readonly name = "cosine";
  private readonly offset = 0.008;
  private readonly rate = Math.PI / 2 / (1 + this.offset);
  private readonly start = Math.cos(this.angle(0)) ** 2;
  private angle(t: number): number {
    return (t + this.offset) * this.rate;
  }
  protected curve(t: number): number {
    return Math.cos(this.angle(t)) ** 2 / this.start;
  }
  protected inverse(alphaBar: number): number {
    const cosine = Math.sqrt(Math.min(1, Math.max(0, alphaBar * this.start)));
    return Math.acos(cosine) / this.rate - this.offset;
  }
  keep(t: number): number {
    return t >= 1 ? 0 : this.curve(t);
  }
  keepSlope(t: number): number {
    return (-Math.sin(2 * this.angle(t)) * this.rate) / this.start;
  }
}

class LinearSchedule extends Schedule {
  readonly name = "linear";
  protected curve(t: number): number {
    return 1 - t;
  }
  protected inverse(alphaBar: number): number {
    return 1 - alphaBar;
  }
  keep(t: number): number {
    return 1 - t;
  }
  keepSlope(): number {
    return -1;
  }
}

/** The schedule of this name. */
export function createSchedule(name: ScheduleName): Schedule {
  switch (name) {
    case "sqrt":
      return new SqrtSchedule();
    case "cosine":
      return new CosineSchedule();
    case "linear":
      return new LinearSchedule();
    default:
      throw new UserError(
        `There is no noise schedule "${name satisfies never}"; use sqrt, cosine or linear (diffusion.schedule).`,
      );
  }
}

/** Throws unless a number is in [least, most]. */
export function checkRange(name: string, value: number, least: number, most: number): void {
  if (Number.isFinite(value) && value >= least && value <= most) return;
  const range = most === Number.MAX_VALUE ? `from ${least} on` : `from ${least} to ${most}`;
  throw new UserError(`${name}: expected a number ${range}, got ${value}`);
}

/** Throws unless t is in [0, 1]. */
export function checkTime(t: number): void {
  if (!(t >= 0 && t <= 1)) throw new UserError(`A noise level t must lie in [0, 1], got ${t}.`);
}
