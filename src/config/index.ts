/** @file Configuration: schemas, their types and presets. Free of Node; `resolve.ts` beside it reads files. */
export { UserError } from "../errors.js";
export { type DataConfig, dataConfigSchema } from "./data-config.js";
export { type DiffusionConfig, diffusionConfigSchema } from "./diffusion-config.js";
export { type ConfigField, configFields, configJsonSchema } from "./fields.js";
export { type GenerationConfig, generationConfigSchema } from "./generation-config.js";
export { type ConfigLayer, configFromLayers, mergeConfig, parseSetting } from "./layers.js";
export {
  type AttentionConfig,
  attentionSchema,
  type ExpertsConfig,
  expertsSchema,
  type ModelConfig,
  modelConfigSchema,
} from "./model-config.js";
export { type ModelDType, modelDTypes } from "./model-dtype.js";
export { defaultPreset, findPreset, type PresetName, presetNames, presets } from "./presets.js";
export { type PartialRunConfig, type RunConfig, runConfigSchema } from "./run-config.js";
export { type TrainingConfig, trainingConfigSchema } from "./training-config.js";
