/** @file Evaluation: loss and bound on held-out text, the channel and n-grams beside them, accuracy on tasks. */

export { DEAD_LOAD, type ExpertUse, type LayerUse } from "../diffusion/expert-use.js";
export {
  type AccuracyOptions,
  type AccuracyResult,
  exactAccuracy,
  type Pair,
  type TargetScores,
  type TargetWriter,
} from "./accuracy.js";
export { type NgramBaselines, ngramBaselines, textsOf } from "./baselines.js";
export {
  DEFAULT_LEVELS,
  type EvaluateOptions,
  type EvaluationProgress,
  type EvaluationReport,
  evaluateRun,
} from "./evaluate.js";
export { formatEvaluation } from "./format.js";
export type { HeldOutLoss } from "./held-out-loss.js";
export type { Comparison, LevelResult } from "./levels.js";
export {
  NgramModel,
  type NgramOptions,
  type NgramScore,
  type NgramScores,
  type TokenSequences,
} from "./ngram.js";
export { runBaselines } from "./run-texts.js";
export type { Estimate } from "./statistics.js";
export {
  copyTask,
  reverseTask,
  type TaskDocument,
  type TaskOptions,
  taskLines,
  taskVocabSize,
} from "./tasks.js";
export type { TrainedSoFar } from "./trained-so-far.js";
