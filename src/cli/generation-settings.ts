/** @file Settings for drawing text from a trained model, as the command line says them. */

import { firstIdle, type Need } from "../config/idle.js";
import {
  configFromLayers,
  type DiffusionConfig,
  type GenerationConfig,
  parseSetting,
  type RunConfig,
} from "../config/index.js";
import { settingFields } from "../config/layers.js";
import { UserError } from "../errors.js";
import { type Flags, generationOverrides } from "./options.js";

/** What the texts are made from, as far as settings say something of it. */
export interface GivenText {
  /** Something is given: a source, a beginning, an end, or the text around the gaps. */
  readonly conditioned: boolean;
  /** A template says how long its gaps are. Default false. */
  readonly template?: boolean;
  /** Nothing is given behind what is written, so that it may go on block by block. Default true. */
  readonly openEnd?: boolean;
}

interface Drawn {
  readonly generation: GenerationConfig;
  readonly diffusion: DiffusionConfig;
  readonly text: GivenText;
}

/** Settings that say nothing where a text is drawn otherwise. */
const needs: readonly (Need<Drawn> & { readonly settings: readonly (keyof GenerationConfig)[] })[] = [
  {
    settings: ["contextLength", "untilEnd"],
    heeded: ({ generation }) => generation.blockLength > 0,
    why: "is for texts in blocks; give --block-length with it",
  },
  {
    settings: ["contextLength", "untilEnd"],
    heeded: ({ text }) => text.openEnd ?? true,
    why: "is for texts that end with what is written, and here text is given behind a gap; leave it out",
  },
  {
    settings: ["num", "candidates"],
    heeded: ({ generation: { num, candidates, temperature }, diffusion }) =>
      diffusion.objective === "denoising" || temperature > 0 || num * candidates === 1,
    why: "would write one text as often: from left to right at temperature 0 nothing is drawn; give --temperature above 0 with it",
  },
  {
    settings: ["select"],
    heeded: ({ generation }) => generation.candidates > 1,
    why: "chooses among several candidates; give --candidates 2 or more with it",
  },
  {
    settings: ["repetitionWindow"],
    heeded: ({ generation }) => generation.repetitionPenalty !== 1,
    why: "says where a penalty looks; give --repetition-penalty with it",
  },
  {
    settings: ["order", "solverMethod", "eta", "clamp", "noiseTemperature"],
    heeded: ({ diffusion }) => diffusion.gaussian,
    why: "is for models with Gaussian noise, which this one does not know; leave it out",
  },
  {
    settings: ["order", "solverMethod"],
    heeded: ({ generation }) => generation.sampler === "dpm-solver++",
    why: "is for the solver; give --sampler dpm-solver++ with it",
  },
  {
    settings: ["eta"],
    heeded: ({ generation }) => generation.sampler === "ddim",
    why: "is for ddim; give --sampler ddim with it",
  },
  {
    settings: ["temperature", "topK", "topP"],
    heeded: ({ diffusion }) => diffusion.absorbRate > 0,
    why: "is for tokens that are drawn; a model without an absorbing state draws none, but reads the likeliest ones off its last prediction; leave it out",
  },
  {
    settings: ["topK", "topP"],
    heeded: ({ generation }) => generation.temperature > 0,
    why: "is for tokens that are drawn, and at temperature 0 the likeliest are taken; give --temperature above 0 with it",
  },
  {
    settings: ["guidance"],
    heeded: ({ generation, text }) => text.conditioned || generation.guidance === 1,
    why: "pushes a text towards what is given, and nothing is; give --src, --prompt, --suffix or --infill with it",
  },
  {
    settings: ["length"],
    heeded: ({ text }) => !(text.template ?? false),
    why: "is not for a template (--infill), whose gaps say how long they are; leave it out",
  },
  {
    settings: ["release", "confidenceThreshold"],
    heeded: ({ diffusion }) => diffusion.absorbRate > 0,
    why: "is for models with an absorbing state, which this one does not know; leave it out",
  },
  {
    settings: ["release", "confidenceThreshold"],
    heeded: ({ generation, diffusion }) =>
      diffusion.objective === "denoising" || generation.release === "left-to-right",
    why: "is not for a left-to-right model, which writes one token after the other; leave it out",
  },
  {
    settings: ["steps", "timeGrid", "cacheInterval"],
    heeded: ({ diffusion }) => diffusion.objective === "denoising",
    why: "is not for a left-to-right model, which writes a token a step; leave it out",
  },
  {
    settings: ["confidenceThreshold"],
    heeded: ({ generation: { release, reabsorb } }) => release === "confidence-threshold" || reabsorb > 0,
    why: "is for --release confidence-threshold and for generation.reabsorb; give one of them with it",
  },
];

const flagOf = (name: string): string =>
  `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

const SECTION = "generation.";

/** The settings of generation that a call gives, by name, and what it calls them: `steps`, "--set generation.steps". */
export function givenSettings(flags: Flags): ReadonlyMap<string, string> {
  const sets = (flags.set ?? []).flatMap(settingFields).filter(({ path }) => path.startsWith(SECTION));
  return new Map([
    ...sets.map(({ path }) => [path.slice(SECTION.length), `--set ${path}`] as const),
    ...Object.keys(generationOverrides(flags).generation ?? {}).map((name) => [name, flagOf(name)] as const),
  ]);
}

/**
 * Refuses settings that this call gives and that would be ignored, which would be taken for heeded. What a model has by default may be.
 * @param config with all that is given in it
 */
export function refuseIdle(flags: Flags, { generation, diffusion }: RunConfig, text: GivenText): void {
  const given = givenSettings(flags);
  const idle = firstIdle(needs, (name) => given.has(name), { generation, diffusion, text });
  if (idle) throw new UserError(`${given.get(idle.setting)} ${idle.why}.`);
}

/**
 * The model's settings with --set and flags over them.
 * @throws UserError for a --set of anything else, and for what says nothing beside the other settings, or of such a model or text
 */
export function generationSettings(config: RunConfig, flags: Flags, text: GivenText): GenerationConfig {
  const { set: sets = [] } = flags;
  const foreign = sets.find((setting) =>
    settingFields(setting).some(({ path }) => !path.startsWith(SECTION)),
  );
  if (foreign !== undefined)
    throw new UserError(`--set ${foreign}: a trained model is as it is; only generation.* can be set here.`);
  const asked = configFromLayers([
    { name: "the model", config },
    ...sets.map((setting) => ({ name: "--set", config: parseSetting(setting) })),
    { name: "command line", config: generationOverrides(flags) },
  ]);
  refuseIdle(flags, asked, text);
  return asked.generation;
}
