/** @file The package `moe-diffuseq`: what most programs need. The rooms' own exports are its sub-paths. */
export * from "./config/index.js";
export { type ResolveOptions, resolveConfig } from "./config/resolve.js";
export { UserError } from "./errors.js";
export type { DeviceKind } from "./runtime/index.js";
export {
  type Choice,
  DiffusionModel,
  type ExpertLoad,
  type GenerateOptions,
  type Generation,
  type GenerationRequest,
  type GenerationSettings,
  generate,
  generateSteps,
  type InfillPart,
  type ModelOptions,
  type SampleProgress,
  type StepEvent,
  type StepOptions,
} from "./sampling/index.js";
export {
  type TrainEvent,
  type TrainMetrics,
  type TrainOptions,
  type TrainSummary,
  train,
  type ValidMetrics,
} from "./training/trainer.js";
export { version } from "./version.js";
