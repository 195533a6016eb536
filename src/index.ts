/** @file The package `moe-diffuseq`: what most programs need. The rooms' own exports are its sub-paths. */
export * from "./config/index.js";
export { type ResolveOptions, resolveConfig } from "./config/resolve.js";
export { UserError } from "./errors.js";
export {
  DiffusionModel,
  type GenerateOptions,
  type Generation,
  type GenerationRequest,
  type GenerationSettings,
  generate,
  generateSteps,
  type StepEvent,
} from "./sampling/index.js";
export { type TrainEvent, type TrainOptions, type TrainSummary, train } from "./training/trainer.js";
export { version } from "./version.js";
