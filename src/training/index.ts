/** @file Training: the run, its events and its directory. */

export type { ExpertUse } from "../diffusion/expert-use.js";
export { type Communicator, joinRanks, leaveRanks, type Summable } from "../distributed/index.js";
export type { CheckpointState } from "./checkpoint-state.js";
export { budgetUsed, learningRateAt, type Progress } from "./learning-rate.js";
export { type MetricsRecord, readMetrics } from "./metrics-log.js";
export type { StepProfile } from "./profile.js";
export { RunDirectory } from "./run-directory.js";
export {
  type TrainEvent,
  type TrainMetrics,
  type TrainOptions,
  type TrainSummary,
  train,
  type ValidMetrics,
} from "./trainer.js";
export { type DataOptions, loadTrainingData, logUnigram, type TrainingData } from "./training-data.js";
export { Validation, type ValidationResult } from "./validation.js";
