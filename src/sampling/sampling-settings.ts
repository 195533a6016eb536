/** @file The settings of one call: laid over the model's, checked against its process, and what follows from them. */
import {
  configFromLayers,
  type DiffusionConfig,
  type GenerationConfig,
  type RunConfig,
} from "../config/index.js";
import { isTree, show } from "../config/layers.js";
import { UserError } from "../errors.js";
import { createSolver } from "./dpm-solver.js";
import { SamplingProcess, samplingTimes, withMidpoints } from "./sampling-times.js";
import { chooseKeeping } from "./step-rows.js";

/**
 * Settings of one call: what is left out is taken from the model's configuration, and what says nothing to such a model (`steps` of a
 * left-to-right one, say) is heeded by none, so that one call serves all models; the command line refuses it. Meaning and defaults: `moe-diffuseq config --list`, or
 * `configFields()`. The same `seed` (default 1) gives the same text. `length` (default 1024 tokens) counts the prompt and is for requests that
 * have none of their own. It is not bounded by the length the model was trained at, but where a model was trained with `data.padTargets`:
 * there the text of a source is at most what the source leaves of that many tokens, and longer only by the request's own `length`.
 */
export type GenerationSettings = { readonly [K in keyof GenerationConfig]?: GenerationConfig[K] | undefined };

/** A sampler by name, "auto" resolved. */
export type Sampler = Exclude<GenerationConfig["sampler"], "auto">;

/** The model's settings with those of the call over them, checked. */
export function generationConfig(model: RunConfig, settings: GenerationSettings): GenerationConfig {
  if (!isTree(settings))
    throw new UserError(`settings: expected an object such as { length: 256 }, got ${show(settings)}`);
  const { generation } = configFromLayers([
    { name: "the model", config: model },
    { name: "generate", config: { generation: settings } },
  ]);
  checkControls(model.diffusion, generation);
  return generation;
}

/** @throws UserError for control of the text that a model of this training cannot have */
function checkControls({ conditionDropout }: DiffusionConfig, { guidance }: GenerationConfig): void {
  if (guidance !== 1 && conditionDropout === 0)
    throw new UserError(
      `generation.guidance: expected 1, got ${guidance}; the model has diffusion.conditionDropout 0 and never sees a text ` +
        "without its condition; train with --set diffusion.conditionDropout=0.1",
    );
}

/** Whether positions are released whatever tokens they take: a step knows beforehand where it draws. */
export const releasesBlindly = (
  { objective }: Pick<DiffusionConfig, "objective">,
  { release }: Pick<GenerationConfig, "release">,
): boolean => objective === "next-token" || release === "random" || release === "left-to-right";

/** The sampler that fits the process. @throws UserError for settings that do not, or an order the solver does not have */
export function chooseSampler(
  { objective, gaussian, absorbRate }: Pick<DiffusionConfig, "objective" | "gaussian" | "absorbRate">,
  { sampler, order, solverMethod, reabsorb }: GenerationConfig,
): Sampler {
  if (objective === "next-token" && reabsorb > 0)
    throw new UserError(
      `generation.reabsorb: expected 0, got ${reabsorb}; an autoregressive model writes every token once, from left to right`,
    );
  if (gaussian && reabsorb > 0)
    throw new UserError(
      `generation.reabsorb: expected 0, got ${reabsorb}; only the masked limit writes for good, a Gaussian process revises all along`,
    );
  if (!gaussian) {
    if (sampler === "auto" || sampler === "absorbing") return "absorbing";
    throw new UserError(
      `generation.sampler: expected "absorbing" or "auto", got "${sampler}"; the model knows absorbed tokens and no Gaussian noise`,
    );
  }
  if (sampler === "absorbing" && absorbRate === 0)
    throw new UserError(
      'generation.sampler: expected "ancestral", "ddim", "dpm-solver++" or "auto", got "absorbing"; ' +
        "the model has absorbRate 0",
    );
  if (sampler === "dpm-solver++") createSolver(solverMethod, order);
  return sampler === "auto" ? "ancestral" : sampler;
}

/**
 * Holds settings against a trained model before anything is compiled or run.
 * @returns the model's settings with these over them
 * @throws UserError for what `generate` would refuse
 */
export function checkSettings(model: RunConfig, settings: GenerationSettings): GenerationConfig {
  const config = generationConfig(model, settings);
  const sampler = chooseSampler(model.diffusion, config);
  // The grid is checked by itself: how many steps there are does not matter.
  chooseTimes(
    new SamplingProcess(model.diffusion),
    { ...config, steps: 2 },
    sampler,
    model.diffusion.minTime,
  );
  chooseKeeping(model, config);
  return config;
}

/** S + 1 times, S = `steps` runs of the network. @param minTime smallest level the model was trained at */
export function chooseTimes(
  process: SamplingProcess,
  { steps, timeGrid, order, solverMethod }: GenerationConfig,
  sampler: Sampler,
  minTime: number,
): Float64Array {
  const twice = sampler === "dpm-solver++" && solverMethod === "singlestep" && order > 1;
  if (!twice) return samplingTimes(process, steps, timeGrid, minTime);
  return withMidpoints(process, samplingTimes(process, Math.ceil(steps / 2), timeGrid, minTime), steps);
}
