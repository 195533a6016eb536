/**
 * @file Settings that say nothing beside the others. One that is given by itself would be taken for heeded, so commands refuse it; in a whole
 * configuration, or a preset, it may stand.
 */
import { UserError } from "../errors.js";
import { settingFields } from "./layers.js";
import type { RunConfig } from "./run-config.js";

/** Settings that are heeded only beside others, and what is said of one that is given without them. */
export interface Need<T> {
  readonly settings: readonly string[];
  readonly heeded: (beside: T) => boolean;
  /** Follows what gave the setting, in a sentence without its end. */
  readonly why: string;
}

/** The first of the needs that is not met by what is given. */
export function firstIdle<T>(
  needs: readonly Need<T>[],
  isGiven: (setting: string) => boolean,
  beside: T,
): { readonly setting: string; readonly why: string } | null {
  for (const { settings, heeded, why } of needs) {
    const setting = settings.find(isGiven);
    if (setting !== undefined && !heeded(beside)) return { setting, why };
  }
  return null;
}

const hasWindow = ({ model: { attention, numLayers } }: RunConfig): boolean =>
  Array.from({ length: numLayers }, (_, layer) => attention.layers[layer]?.full ?? attention.full).includes(
    false,
  );
const hasExperts = ({ model }: RunConfig): boolean => model.experts.numExperts > 1;
const ofExperts = (...names: string[]): string[] => names.map((name) => `model.experts.${name}`);

/** Of the model, the noise and the texts; those of generation depend on the text that is asked for, too, and are told by their commands. */
const needs: readonly Need<RunConfig>[] = [
  {
    settings: ["model.attention.maxTextGlobals"],
    heeded: ({ model }) => model.attention.textGlobals !== "none",
    why: 'bounds how many positions of the text are global, and none are here; give model.attention.textGlobals, "separators" or "source", with it',
  },
  {
    settings: ["model.attention.window", "model.attention.dilation"],
    heeded: hasWindow,
    why: "is for windows, and every layer of this model sees its whole document; give model.attention.full=false with it",
  },
  {
    settings: ofExperts(
      ...["topK", "intermediateSize", "router", "topP", "sharedExpertSize", "capacityFactor"],
      ...["balance", "balanceUpdate", "balanceLossWeight", "zLossWeight"],
    ),
    heeded: hasExperts,
    why: "is for experts, which this model has not; give model.experts.numExperts, 2 or more, with it",
  },
  {
    settings: ["model.feedForwardSize"],
    heeded: (config) => !hasExperts(config),
    why: "is the width of a dense block, and this model has experts instead; give model.experts.intermediateSize, theirs, or model.experts.numExperts=0 with it",
  },
  {
    settings: ofExperts("topP"),
    heeded: ({ model }) => model.experts.router === "top-p",
    why: "is for the router top-p; give model.experts.router=top-p with it",
  },
  {
    settings: ofExperts("balance", "balanceUpdate"),
    heeded: ({ model: { experts } }) => experts.router !== "expert-choice" || experts.balance === "loss",
    why: "evens out what tokens choose, and here experts choose, evenly; leave it out",
  },
  {
    settings: ofExperts("balanceUpdate"),
    heeded: ({ model }) => model.experts.balance === "loss-free",
    why: "is for balance loss-free; give model.experts.balance=loss-free with it",
  },
  {
    settings: ofExperts("balanceLossWeight"),
    heeded: ({ model }) => model.experts.balance === "loss",
    why: "is for balance loss; give model.experts.balance=loss with it",
  },
  {
    settings: ["timeSampler", "minTime", "schedule", "lossWeighting"].map((name) => `diffusion.${name}`),
    heeded: ({ diffusion }) => diffusion.objective === "denoising",
    why: "is for noise levels, and a left-to-right model learns at none; leave it out",
  },
  {
    settings: ["diffusion.noiseScale", "diffusion.priorWeight"],
    heeded: ({ diffusion }) => diffusion.gaussian,
    why: "is for Gaussian noise, which this process has not; leave it out",
  },
  {
    settings: ofExperts("capacityFactor"),
    heeded: ({ model: { experts } }) =>
      experts.router !== "expert-choice" || (experts.capacityFactor ?? 1) < 1,
    why: "of 1 or more is no limit where experts choose, as none takes more than its share; give less than 1, or leave it out",
  },
  {
    settings: ["diffusion.absorbingNormWeight"],
    heeded: ({ model }) => model.absorbingState === "learned",
    why: "weighs an absorbing state that is learned, and here it is zero; give model.absorbingState=learned with it",
  },
  {
    settings: ["data.validFraction"],
    heeded: ({ data }) => data.train.length > 0 || data.valid.length > 0,
    why: "is the share that is held out of data.train, and the embedded corpus has validation texts of its own; leave it out",
  },
  {
    settings: ["data.documentPer"],
    heeded: ({ data }) => data.train.length > 0 || data.valid.length > 0,
    why: "says what a document is in a folder of texts, and the embedded corpus is none; give data.train with it",
  },
  {
    settings: ["data.validFraction"],
    heeded: ({ data }) => data.valid.length === 0,
    why: "is the share that is held out where no validation texts are given, and they are; leave it out",
  },
];

/** Of each layer: what is for windows. */
const needsOfLayers = ({ model: { attention, numLayers } }: RunConfig): Need<RunConfig>[] =>
  Array.from({ length: numLayers }, (_, layer) => {
    const own = `model.attention.layers.${layer}`;
    return {
      settings: [`${own}.window`, `${own}.dilation`],
      heeded: () => !(attention.layers[layer]?.full ?? attention.full),
      why: `is for windows, and this layer sees its whole document; give ${own}.full=false with it`,
    };
  });

/** The settings that say nothing beside some others. */
export const idleSettings: readonly string[] = needs.flatMap(({ settings }) => settings);

/** @throws UserError for the first of `sets` ("a.b=value") that says nothing in the configuration that they have come to */
export function refuseIdleSettings(sets: readonly string[], config: RunConfig): void {
  const given = new Set(sets.flatMap(settingFields).map(({ path }) => path));
  const idle = firstIdle([...needs, ...needsOfLayers(config)], (setting) => given.has(setting), config);
  if (idle) throw new UserError(`--set ${idle.setting} ${idle.why}.`);
}
