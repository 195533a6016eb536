/** @file The soft absorbing process: schedules, marginals and posterior, noise levels, loss weights, batches, and the graphs with the loss. */
export type { BatchShape } from "../model/layout.js";
export { CounterRandom, Stream } from "../random/index.js";
export { type CorruptionConfig, type CorruptionOptions, corruptRows } from "./batch.js";
export { lossOfRows } from "./batch-loss.js";
export { BatchBuffers } from "./buffers.js";
export { dropConditions, hasCondition, withoutConditions } from "./condition-dropout.js";
export { levelsOfDraw } from "./level-draws.js";
export { allocateLevels, type LevelInputs, levelTensors, setLevel } from "./level-inputs.js";
export { boundWeight, type LossWeightOptions, type LossWeights, lossWeights } from "./loss-weights.js";
export {
  channelModule,
  codebookModule,
  type DenoisingGraph,
  denoisingGraph,
  evaluationModule,
  type LossTerm,
  lossTerms,
  type ModuleConfig,
  trainingModule,
} from "./modules.js";
export { PADDING_SEGMENT, PADDING_SEQUENCE, padRows } from "./padding.js";
export { placeRows } from "./place-rows.js";
export {
  DiffusionProcess,
  diffuse,
  MIN_CHANNEL_VARIANCE,
  type NoiseLevel,
  noiseFromX0,
  type Posterior,
  type ProcessOptions,
  x0FromNoise,
} from "./process.js";
export { createSchedule, MIN_ALPHA_BAR, Schedule, type ScheduleName } from "./schedule.js";
export { forEachTarget } from "./targets.js";
export {
  createTimeSampler,
  type LossAwareOptions,
  LossAwareTimeSampler,
  type TimeDraw,
  type TimeSampler,
  type TimeSamplerState,
} from "./time-sampler.js";
