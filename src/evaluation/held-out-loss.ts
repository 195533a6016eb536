/**
 * @file The loss on held-out rows at random noise levels, as in training; in the masked limit with the weights that make it a bound:
 *
 *     -log p(text) <= E_t [ w(t) sum over absorbed positions of -log p(token | rest) ],    w(t) = -keep'(t) / (1 - keep(t))
 *
 * Several draws of noise and levels a row make the bound sharper; the first draw is that of validation while training.
 */
import type { RunConfig } from "../config/index.js";
import {
  createTimeSampler,
  DiffusionProcess,
  type LossTerm,
  lossTerms,
  lossWeights,
  type TimeSampler,
} from "../diffusion/index.js";
import { forEachTarget, type NoisyRows } from "./noisy-rows.js";
import { type Estimate, RatioEstimate } from "./statistics.js";

/** Plain JSON. */
export interface HeldOutLoss {
  /** Rows, their target tokens and the bytes of text these stand for. */
  readonly sequences: number;
  readonly tokens: number;
  readonly bytes: number;
  /** Times that every row was noised. */
  readonly draws: number;
  /** Mean over rows and draws, as in training; masked limit: with the bound's weights. */
  readonly loss: number;
  /** Its parts, before their weights where they have one of their own. */
  readonly terms: Partial<Record<LossTerm, number>>;
  /** Nats a target token; masked limit: an absorbed one. */
  readonly crossEntropy: Estimate;
  /** Masked limit: at most so many nats a token and bits a byte. Else null: a continuous process has no such bound. */
  readonly bound: { readonly natsPerToken: Estimate; readonly bitsPerByte: Estimate } | null;
}

/** Sums of one row over the draws. */
interface RowSums {
  tokens: number;
  bytes: number;
  nll: number;
  scored: number;
  bound: number;
}

export async function heldOutLoss(
  config: RunConfig,
  noisy: NoisyRows,
  options: {
    draws: number;
    byteLengths: ArrayLike<number>;
    signal?: AbortSignal;
    onBatch?: () => void;
  },
): Promise<HeldOutLoss> {
  const { draws, byteLengths, signal, onBatch = () => {} } = options;
  const { diffusion } = config;
  const masked = !diffusion.gaussian;
  const process = new DiffusionProcess(diffusion);
  const boundWeight = (time: number): number =>
    masked ? lossWeights({ ...diffusion, ceWeight: 1 }, process, { time, weighting: "elbo" }).ce : 0;
  const sums = Array.from(
    { length: noisy.count },
    (): RowSums => ({ tokens: 0, bytes: 0, nll: 0, scored: 0, bound: 0 }),
  );
  let loss = 0;
  const terms: Partial<Record<LossTerm, number>> = {};
  const sampler = createTimeSampler(
    { timeSampler: "low-discrepancy", minTime: diffusion.minTime },
    noisy.random,
  );
  for (let draw = 0; draw < draws; draw++) {
    let first = 0;
    const pass = noisy.pass({
      step: draw,
      timeSampler: shifted(sampler, draw * noisy.count),
      weighting: masked ? "elbo" : undefined,
      signal,
    });
    for await (const batch of pass) {
      const { rows, feeds, outputs, nll } = batch;
      const share = rows.length / (noisy.count * draws);
      loss += share * Number(outputs.loss.data[0]);
      for (const term of lossTerms)
        if (outputs[term]) terms[term] = (terms[term] ?? 0) + share * Number(outputs[term].data[0]);
      const weights = rows.map((_, b) => boundWeight(Number(feeds.time.data[b])));
      forEachTarget(batch, (b, position, at, absorbed) => {
        const sum = sums[first + b];
        if (draw === 0) {
          sum.tokens++;
          sum.bytes += byteLengths[rows[b].ids[position]] ?? 0;
        }
        if (masked && !absorbed) return;
        sum.nll += nll[at];
        sum.scored++;
        sum.bound += (weights[b] * nll[at]) / draws;
      });
      first += rows.length;
      onBatch();
    }
  }
  const ratio = (y: (row: RowSums) => number, x: (row: RowSums) => number) => {
    const collected = new RatioEstimate();
    for (const row of sums) collected.add(y(row), x(row));
    return collected.estimate() ?? { mean: Number.NaN, standardError: null };
  };
  const total = (value: (row: RowSums) => number) => sums.reduce((sum, row) => sum + value(row), 0);
  return {
    sequences: noisy.count,
    tokens: total((row) => row.tokens),
    bytes: total((row) => row.bytes),
    draws,
    loss,
    terms,
    crossEntropy: ratio(
      (row) => row.nll,
      (row) => row.scored,
    ),
    bound: masked
      ? {
          natsPerToken: ratio(
            (row) => row.bound,
            (row) => row.tokens,
          ),
          bitsPerByte: ratio(
            (row) => row.bound / Math.LN2,
            (row) => row.bytes,
          ),
        }
      : null,
  };
}

/** Levels of later draws: those of sequences further on, so that all draws together are spread evenly. */
const shifted = (sampler: TimeSampler, by: number): TimeSampler => ({
  draw: (sequence) => sampler.draw(sequence + by),
  observe: (times, losses) => sampler.observe(times, losses),
  state: () => sampler.state(),
  restore: (state) => sampler.restore(state),
});
