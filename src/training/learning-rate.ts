/**
 * @file The learning rate over a run: linear warm-up over a share w of the budget and at least 20 steps, then a cosine down to a floor.
 *
 *   p < w:   peak * min(step / 20, max(p / w, 1 / 20))
 *   p >= w:  peak * min(1, step / 20) * (floor + (1 - floor) (1 + cos(pi (p - w) / (1 - w))) / 2)
 */
import type { TrainingConfig } from "../config/index.js";

/** How much of the budget is used; several budgets count by the one that runs out first. */
export interface Progress {
  readonly steps: number;
  readonly tokens: number;
  readonly seconds: number;
}

/** Share of the budget used, in [0, 1]; 0 when there is no budget. */
export function budgetUsed(
  { maxSteps, maxTokens, maxMinutes }: Pick<TrainingConfig, "maxSteps" | "maxTokens" | "maxMinutes">,
  { steps, tokens, seconds }: Progress,
): number {
  const shares = [
    maxSteps === null ? 0 : steps / maxSteps,
    maxTokens === null ? 0 : tokens / maxTokens,
    maxMinutes === null ? 0 : seconds / (60 * maxMinutes),
  ];
  return Math.min(1, Math.max(...shares));
}

/** Steps of warm-up at least, so that a run without a budget (or a very short one) warms up too. */
const MIN_WARMUP_STEPS = 20;

/** Learning rate of optimiser step `step` (from 1) when `used` of the budget was spent before it. */
export function learningRateAt(
  config: Pick<TrainingConfig, "learningRate" | "minLearningRateRatio" | "warmupRatio">,
  step: number,
  used: number,
): number {
  const { learningRate, minLearningRateRatio: floor, warmupRatio } = config;
  const early = Math.min(1, step / MIN_WARMUP_STEPS);
  if (used < warmupRatio)
    return learningRate * Math.min(early, Math.max(used / warmupRatio, 1 / MIN_WARMUP_STEPS));
  const rest = warmupRatio === 1 ? 0 : (used - warmupRatio) / (1 - warmupRatio);
  return learningRate * early * (floor + ((1 - floor) * (1 + Math.cos(Math.PI * rest))) / 2);
}
