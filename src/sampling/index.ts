/** @file Sampling: from a trained model to text of any length, by one `generate()` for free, conditional, prefix, suffix and infilled text. */

export { denoiserParameters } from "../model/denoiser.js";
export type { ParameterDefinition } from "../model/parameters.js";
export type { Choice } from "./candidates.js";
export { buildCanvas, type Canvas, type CanvasPart } from "./canvas.js";
export { PLACEHOLDER } from "./canvas-text.js";
export {
  type GenerateOptions,
  type Generation,
  generate,
  generateSteps,
  type SampleProgress,
  type StepEvent,
  type StepOptions,
} from "./generate.js";
export { DiffusionModel, type HostCodes, type ModelOptions, type ModelParts } from "./model.js";
export { DEFAULT_GAP, type GenerationRequest, type InfillPart, parseTemplate } from "./request.js";
export type { ExpertLoad } from "./sample-batch.js";
export type { GenerationSettings } from "./sampling-settings.js";
