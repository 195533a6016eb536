/**
 * @file What every position counts in the loss. A row's loss is a mean over its own target positions, and the batch's
 * loss is the mean over rows, so a row's loss does not depend on what it is batched with:
 *
 *     row = 1/targets * sum over targets of  ceWeight * CE + mseWeight * |x0 - x0_hat|^2 + priorWeight a_T^2 |x0 - m|^2
 *
 * In the masked limit only absorbed positions count, times w(t): "unweighted" w = 1 / E[g], so that the weights of a
 * row sum to 1 on average over t; "elbo" w = -keep'(t) / (1 - keep(t)), for which E[row] over t in [0, 1] bounds the
 * negative log-likelihood of a token from above (arXiv 2406.07524). Over t in [minTime, 1] it is scaled by
 * (1 - minTime) / keep(minTime) (1 when linear): then it sums to 1 on average too, and stays a bound, because the cross
 * entropy is least at the levels left out.
 *
 * |.|^2 is a mean over D. The prior term is |mean of q(z_T | x0) - m|^2 = a_T^2 |x0 - m|^2: it keeps embeddings from growing out of the noise.
 */
import type { DiffusionConfig } from "../config/diffusion-config.js";
import { UserError } from "../errors.js";
import type { DiffusionProcess } from "./process.js";

export interface LossWeightOptions {
  /** t of the row. */
  time: number;
  /** Importance weight of t (see `TimeDraw`). Default 1. */
  importance?: number;
  /** Overrides the configuration's weighting: evaluation reports the bound also of models trained unweighted. */
  weighting?: DiffusionConfig["lossWeighting"];
  /**
   * The time was set, not drawn from [minTime, 1]. "unweighted" then divides by g(time) instead of E[g], so that the
   * loss is the mean over absorbed positions at this level; "elbo" is the bare weight, for a grid over [0, 1].
   */
  fixedTime?: boolean;
  /** Probability of absorption that replaces g(t). Default: g(t). */
  absorbProbability?: number;
}

/** Weights of one position of a row with one target; divide by the row's targets and by the number of rows. */
export interface LossWeights {
  /** Only absorbed positions get `ce` and `mse` (masked limit); else all targets. */
  readonly absorbedOnly: boolean;
  readonly ce: number;
  readonly mse: number;
  /** For all targets. */
  readonly prior: number;
  /** w(t): what `ce` and `mse` have of the level, without the importance of t and the weights of the terms. */
  readonly level: number;
}

/** The weights of a row at its noise level, before the division by targets and rows. */
export function lossWeights(
  config: Pick<DiffusionConfig, "ceWeight" | "mseWeight" | "priorWeight" | "lossWeighting" | "minTime">,
  process: DiffusionProcess,
  options: LossWeightOptions,
): LossWeights {
  const level = levelWeight(config, process, options);
  const weight = (options.importance ?? 1) * level;
  // In the masked limit everything is absorbed at T, and the term is 0.
  const prior = process.gaussian ? config.priorWeight * process.schedule.alphaBar(1) : 0;
  return {
    absorbedOnly: !process.gaussian,
    ce: config.ceWeight * weight,
    mse: config.mseWeight * weight,
    prior,
    level,
  };
}

/**
 * Masked limit: what the nats of an absorbed position count at t in the bound, for t drawn evenly from [minTime, 1]. Autoregressive: 1,
 * and the bound is the likelihood.
 */
export const boundWeight = (
  config: Pick<DiffusionConfig, "objective" | "lossWeighting" | "minTime">,
  process: DiffusionProcess,
  time: number,
): number =>
  config.objective === "next-token" ? 1 : levelWeight(config, process, { time, weighting: "elbo" });

function levelWeight(
  config: Pick<DiffusionConfig, "lossWeighting" | "minTime">,
  process: DiffusionProcess,
  { time, weighting = config.lossWeighting, fixedTime = false, absorbProbability }: LossWeightOptions,
): number {
  if (weighting === "elbo") {
    if (absorbProbability !== undefined) {
      throw new UserError(
        'The "elbo" weighting belongs to g(t); leave absorbProbability out, or weigh "unweighted".',
      );
    }
    const scale = fixedTime ? 1 : (1 - config.minTime) / process.schedule.keep(config.minTime);
    return scale * process.elboWeight(time);
  }
  if (process.gaussian) return 1;
  const share =
    absorbProbability ?? (fixedTime ? process.absorbed(time) : process.meanAbsorbed(config.minTime));
  return share === 0 ? 0 : 1 / share;
}
