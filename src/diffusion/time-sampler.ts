/**
 * @file How training draws the noise level t of a sequence, t = minTime + (1 - minTime) u with u in (0, 1).
 *
 *     uniform          u = a random number of (seed, sequence)
 *     low-discrepancy  u = frac(u_seed + sequence / golden ratio): any run of sequences is spread evenly over [0, 1)
 *     loss-aware       u from a bin k with probability p_k ~ sqrt(mean loss^2 of the bin), weight 1 / (K p_k)
 *
 * t depends on the seed, the sequence's running number and (loss-aware) the losses observed so far: never on the batch
 * or the place in it. Loss-aware is the LossSecondMomentResampler of improved diffusion (arXiv 2102.09672) and DiffuSeq.
 */
import type { DiffusionConfig } from "../config/diffusion-config.js";
import { UserError } from "../errors.js";
import { type CounterRandom, Stream } from "../random/index.js";
import { checkRange } from "./schedule.js";

/** A noise level and the importance weight of its loss (mean 1 over draws, so that the weighted loss is unbiased). */
export interface TimeDraw {
  readonly time: number;
  readonly weight: number;
}

/** What has to be kept to resume a sampler; plain JSON. `null` for samplers without memory. */
export type TimeSamplerState = { readonly losses: readonly (readonly number[])[] } | null;

export interface TimeSampler {
  /** The noise level of a training sequence; `sequence` is its global running number. */
  draw(sequence: number): TimeDraw;
  /** Tells the sampler what losses (before importance weights) the rows had at their times, in order of sequence. */
  observe(times: ArrayLike<number>, losses: ArrayLike<number>): void;
  state(): TimeSamplerState;
  restore(state: TimeSamplerState): void;
}

/** The sampler of a configuration. */
export function createTimeSampler(
  config: Pick<DiffusionConfig, "timeSampler" | "minTime">,
  random: CounterRandom,
): TimeSampler {
  switch (config.timeSampler) {
    case "uniform":
      return new UniformTimeSampler(random, config.minTime);
    case "low-discrepancy":
      return new LowDiscrepancyTimeSampler(random, config.minTime);
    case "loss-aware":
      return new LossAwareTimeSampler(random, config.minTime);
    default:
      throw new UserError(
        `There is no time sampler "${config.timeSampler satisfies never}"; use uniform, low-discrepancy or loss-aware.`,
      );
  }
}

const WORD = 2 ** 32;
/** Half the grid of the random numbers: keeps u from 0, where the bound's weight is infinite. */
const HALF = 0.5 / WORD;
/** 2^32 / golden ratio, odd: its multiples modulo 2^32 visit every value, and any run of them evenly. */
const GOLDEN = 0x9e3779b9;

abstract class MemorylessTimeSampler implements TimeSampler {
  constructor(
    protected readonly random: CounterRandom,
    private readonly minTime: number,
  ) {}
  protected abstract fraction(sequence: number): number;
  draw(sequence: number): TimeDraw {
    return { time: this.minTime + (1 - this.minTime) * this.fraction(sequence), weight: 1 };
  }
  observe(): void {}
  state(): TimeSamplerState {
    return null;
  }
  restore(): void {}
}

class UniformTimeSampler extends MemorylessTimeSampler {
  protected fraction(sequence: number): number {
    return this.random.uniform(Stream.Time, sequence, 0, 0) + HALF;
  }
}

class LowDiscrepancyTimeSampler extends MemorylessTimeSampler {
  /** The seed's offset: step 1, because step 0 of sequence 0 belongs to that sequence. */
  private readonly offset = Math.floor(this.random.uniform(Stream.Time, 0, 1, 0) * WORD);
  protected fraction(sequence: number): number {
    // 32-bit integers: exact for any sequence number, where frac(phi * sequence) in floats would lose digits.
    return ((this.offset + Math.imul(sequence, GOLDEN)) >>> 0) / WORD + HALF;
  }
}

/** Settings of the loss-aware sampler; none of them is a configuration field. */
export interface LossAwareOptions {
  /** K, bins of equal width over [minTime, 1]. Default 32. */
  bins?: number;
  /** Losses remembered for each bin; until every bin has as many, draws are uniform. Default 10. */
  history?: number;
  /** Share of the probability spread evenly, so that weights stay below its inverse. Default 0.05 (DiffuSeq: 0.001). */
  uniformShare?: number;
}

/** Draws where the loss is large and weighs the loss down by as much. */
export class LossAwareTimeSampler implements TimeSampler {
  private readonly bins: number;
  private readonly history: number;
  private readonly uniformShare: number;
  private losses: number[][];
  private probabilities: Float64Array;

  constructor(
    private readonly random: CounterRandom,
    private readonly minTime: number,
    options: LossAwareOptions = {},
  ) {
    this.bins = options.bins ?? 32;
    this.history = options.history ?? 10;
    this.uniformShare = options.uniformShare ?? 0.05;
    for (const [name, value] of Object.entries({ bins: this.bins, history: this.history }))
      if (!Number.isInteger(value) || value < 1)
        throw new UserError(`${name}: expected an integer from 1 on, got ${value}`);
    checkRange("uniformShare", this.uniformShare, 0, 1);
    this.losses = Array.from({ length: this.bins }, () => []);
    this.probabilities = this.computeProbabilities();
  }

  draw(sequence: number): TimeDraw {
    // One number gives the bin (by its place among the cumulative probabilities) and the place inside the bin.
    let rest = this.random.uniform(Stream.Time, sequence, 0, 0) + HALF;
    let bin = 0;
    while (bin < this.bins - 1 && rest >= this.probabilities[bin]) rest -= this.probabilities[bin++];
    const inside = Math.min(rest / this.probabilities[bin], 1 - 2 ** -32);
    const time = this.minTime + ((1 - this.minTime) * (bin + inside)) / this.bins;
    return { time, weight: 1 / (this.bins * this.probabilities[bin]) };
  }

  observe(times: ArrayLike<number>, losses: ArrayLike<number>): void {
    if (times.length !== losses.length) {
      throw new UserError(
        `Expected one loss for each time, got ${times.length} times, ${losses.length} losses.`,
      );
    }
    for (let i = 0; i < times.length; i++) {
      if (!Number.isFinite(losses[i])) continue;
      const bin = Math.floor(((times[i] - this.minTime) / (1 - this.minTime)) * this.bins);
      const remembered = this.losses[Math.min(this.bins - 1, Math.max(0, bin))];
      remembered.push(losses[i]);
      if (remembered.length > this.history) remembered.shift();
    }
    this.probabilities = this.computeProbabilities();
  }

  state(): TimeSamplerState {
    return { losses: this.losses.map((bin) => [...bin]) };
  }

  restore(state: TimeSamplerState): void {
    if (state === null || state.losses.length !== this.bins) {
      throw new UserError(
        `The loss-aware time sampler expected a state of ${this.bins} bins, got ${state?.losses.length ?? "none"}; ` +
          "resume with the diffusion.timeSampler the run was started with.",
      );
    }
    this.losses = state.losses.map((bin) => [...bin]);
    this.probabilities = this.computeProbabilities();
  }

  private computeProbabilities(): Float64Array {
    const probabilities = new Float64Array(this.bins).fill(1 / this.bins);
    if (this.losses.some((bin) => bin.length < this.history)) return probabilities;
    const moments = this.losses.map((bin) => Math.sqrt(bin.reduce((a, b) => a + b * b, 0) / bin.length));
    const total = moments.reduce((a, b) => a + b, 0);
    if (total === 0) return probabilities;
    const even = this.uniformShare / this.bins;
    return probabilities.map((_, k) => (1 - this.uniformShare) * (moments[k] / total) + even);
  }
}
