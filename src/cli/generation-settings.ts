/** @file Settings for drawing text from a trained model, as the command line says them. */
import { configFromLayers, type GenerationConfig, parseSetting, type RunConfig } from "../config/index.js";
import { UserError } from "../errors.js";
import { type Flags, generationOverrides } from "./options.js";

/**
 * The model's settings for drawing text, with --set and flags over them.
 * @throws UserError for a --set of anything else
 */
export function generationSettings(config: RunConfig, flags: Flags): GenerationConfig {
  const foreign = flags.set?.find((setting) => !setting.startsWith("generation."));
  if (foreign) {
    throw new UserError(`--set ${foreign}: a trained model is as it is; only generation.* can be set here.`);
  }
  const sets = (flags.set ?? []).map((setting) => ({ name: "--set", config: parseSetting(setting) }));
  return configFromLayers([
    { name: "the model", config },
    ...sets,
    { name: "command line", config: generationOverrides(flags) },
  ]).generation;
}
