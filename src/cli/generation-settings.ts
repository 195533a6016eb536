/** @file Settings for drawing text from a trained model, as the command line says them. */
import {
  configFromLayers,
  type DiffusionConfig,
  type GenerationConfig,
  parseSetting,
  type RunConfig,
} from "../config/index.js";
import { UserError } from "../errors.js";
import { type Flags, generationOverrides } from "./options.js";

/** Settings that say nothing where a text is drawn otherwise, and what is said of one that was given there. */
const needs: readonly {
  readonly settings: readonly (keyof GenerationConfig)[];
  readonly heeded: (generation: GenerationConfig, diffusion: DiffusionConfig) => boolean;
  readonly why: string;
}[] = [
  {
    settings: ["contextLength", "untilEnd"],
    heeded: ({ blockLength }) => blockLength > 0,
    why: "is for texts in blocks; give --block-length with it",
  },
  {
    settings: ["select"],
    heeded: ({ candidates }) => candidates > 1,
    why: "chooses among several candidates; give --candidates 2 or more with it",
  },
  {
    settings: ["repetitionWindow"],
    heeded: ({ repetitionPenalty }) => repetitionPenalty !== 1,
    why: "says where a penalty looks; give --repetition-penalty with it",
  },
  {
    settings: ["order", "solverMethod", "eta", "clamp", "noiseTemperature"],
    heeded: (_, { gaussian }) => gaussian,
    why: "is for models with Gaussian noise, which this one does not know; leave it out",
  },
  {
    settings: ["order", "solverMethod"],
    heeded: ({ sampler }) => sampler === "dpm-solver++",
    why: "is for the solver; give --sampler dpm-solver++ with it",
  },
  {
    settings: ["eta"],
    heeded: ({ sampler }) => sampler === "ddim",
    why: "is for ddim; give --sampler ddim with it",
  },
  {
    settings: ["temperature", "topK", "topP"],
    heeded: (_, { absorbRate }) => absorbRate > 0,
    why: "is for tokens that are drawn; a model without an absorbing state draws none, but reads the likeliest ones off its last prediction; leave it out",
  },
  {
    settings: ["release", "confidenceThreshold"],
    heeded: (_, { absorbRate }) => absorbRate > 0,
    why: "is for models with an absorbing state, which this one does not know; leave it out",
  },
  {
    settings: ["release", "confidenceThreshold"],
    heeded: ({ release }, { objective }) => objective === "denoising" || release === "left-to-right",
    why: "is not for a left-to-right model, which writes one token after the other; leave it out",
  },
  {
    settings: ["steps", "timeGrid", "cacheInterval"],
    heeded: (_, { objective }) => objective === "denoising",
    why: "is not for a left-to-right model, which writes a token a step; leave it out",
  },
  {
    settings: ["confidenceThreshold"],
    heeded: ({ release, reabsorb }) => release === "confidence-threshold" || reabsorb > 0,
    why: "is for --release confidence-threshold and for generation.reabsorb; give one of them with it",
  },
];

/** Refuses settings that were given and would be ignored, which would be taken for heeded. */
function refuseIdle(given: ReadonlyMap<string, string>, config: RunConfig): void {
  for (const { settings, heeded, why } of needs) {
    const idle = settings.find((name) => given.has(name));
    if (idle !== undefined && !heeded(config.generation, config.diffusion))
      throw new UserError(`${given.get(idle)} ${why}.`);
  }
}

const flagOf = (name: string): string =>
  `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/**
 * The model's settings with --set and flags over them.
 * @throws UserError for a --set of anything else, and for what says nothing beside the other settings, or of such a model
 */
export function generationSettings(config: RunConfig, flags: Flags): GenerationConfig {
  const foreign = flags.set?.find((setting) => !setting.startsWith("generation."));
  if (foreign) {
    throw new UserError(`--set ${foreign}: a trained model is as it is; only generation.* can be set here.`);
  }
  const sets = (flags.set ?? []).map((setting) => ({ name: "--set", config: parseSetting(setting) }));
  const overrides = generationOverrides(flags);
  const asked = configFromLayers([
    { name: "the model", config },
    ...sets,
    { name: "command line", config: overrides },
  ]);
  const given = new Map([
    ...(flags.set ?? []).map((setting) => {
      const path = setting.split("=", 1)[0].trim();
      return [path.slice("generation.".length), `--set ${path}`] as const;
    }),
    ...Object.keys(overrides.generation ?? {}).map((name) => [name, flagOf(name)] as const),
  ]);
  refuseIdle(given, asked);
  return asked.generation;
}
