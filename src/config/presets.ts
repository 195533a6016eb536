/**
 * @file The named corners of the one process: DiffuSeq (arXiv 2210.08933), DiffuSeq-v2 (2310.05793),
 * MoE-DiffuSeq (2512.20604), the masked limit (MDLM, 2406.07524), and the left-to-right transformer they are held against. Each is a partial configuration over the
 * defaults and spells out everything that makes it what it is, also where that equals a default.
 *
 * Our choices, not the papers': sizes, three times the noise (at embedding width 128 the published noise leaves
 * nothing to learn below t = 0.5), the posterior-mean input and the 3-tap input convolution.
 */
import { UserError } from "../errors.js";
import { didYouMean } from "./nearest.js";
import type { PartialRunConfig } from "./run-config.js";

const diffuseqModel = {
  normPlacement: "post",
  activation: "gelu",
  positionEmbedding: "sinusoidal",
  timeConditioning: true,
  codebook: "learned",
  inputDecoding: "posterior-mean",
  prediction: "embedding",
  attention: { full: true, globalTokens: 0, textGlobals: "none", maxTextGlobals: 0 },
  experts: { numExperts: 0 },
} as const satisfies PartialRunConfig["model"];

/** Post-norm wants a smaller rate: at 2e-3 it learns the toy tasks, but of real text nothing beyond the channel. */
const diffuseqTraining = { learningRate: 5e-4 } as const satisfies PartialRunConfig["training"];

const diffuseqLoss = {
  schedule: "sqrt",
  gaussian: true,
  lossWeighting: "unweighted",
  ceWeight: 1,
  mseWeight: 1,
  priorWeight: 1,
} as const satisfies PartialRunConfig["diffusion"];

const sparseExperts = {
  normPlacement: "pre",
  activation: "quick_gelu",
  attention: { full: false, window: 128, globalTokens: 16, textGlobals: "none" },
  experts: { numExperts: 8, topK: 2, router: "top-k", balance: "loss-free" },
} as const satisfies PartialRunConfig["model"];

export const presets = {
  diffuseq: {
    model: { ...diffuseqModel, absorbingState: "zero" },
    diffusion: { ...diffuseqLoss, absorbRate: 0, absorbingNormWeight: 0 },
    training: diffuseqTraining,
  },
  "diffuseq-v2": {
    model: { ...diffuseqModel, absorbingState: "learned" },
    diffusion: { ...diffuseqLoss, absorbRate: 0.5, absorbingNormWeight: 0.01 },
    training: diffuseqTraining,
  },
  "moe-diffuseq": {
    model: {
      ...sparseExperts,
      timeConditioning: true,
      codebook: "fixed",
      inputDecoding: "posterior-mean",
      prediction: "mixture",
      absorbingState: "learned",
    },
    diffusion: {
      schedule: "sqrt",
      gaussian: true,
      absorbRate: 0.5,
      lossWeighting: "unweighted",
      ceWeight: 1,
      mseWeight: 0,
      priorWeight: 0,
      absorbingNormWeight: 0.01,
    },
  },
  autoregressive: {
    model: {
      normPlacement: "pre",
      activation: "quick_gelu",
      timeConditioning: false,
      codebook: "learned",
      inputDecoding: "none",
      prediction: "mixture",
      absorbingState: "learned",
      attention: { full: true, causal: true, globalTokens: 0, textGlobals: "none", maxTextGlobals: 0 },
      experts: { numExperts: 0 },
    },
    diffusion: {
      objective: "next-token",
      schedule: "linear",
      gaussian: false,
      absorbRate: 1,
      lossWeighting: "unweighted",
      ceWeight: 1,
      mseWeight: 0,
      priorWeight: 0,
      absorbingNormWeight: 0,
    },
  },
  masked: {
    model: {
      ...sparseExperts,
      timeConditioning: false,
      codebook: "learned",
      inputDecoding: "none",
      prediction: "mixture",
      absorbingState: "learned",
    },
    diffusion: {
      schedule: "linear",
      gaussian: false,
      absorbRate: 1,
      timeSampler: "low-discrepancy",
      lossWeighting: "unweighted",
      ceWeight: 1,
      mseWeight: 0,
      priorWeight: 0,
      absorbingNormWeight: 0,
    },
  },
} as const satisfies Record<string, PartialRunConfig>;

export type PresetName = keyof typeof presets;
export const defaultPreset: PresetName = "moe-diffuseq";
export const presetNames = Object.keys(presets) as PresetName[];

/** The preset called `name`. Throws a UserError that names the nearest one when there is none. */
export function findPreset(name: string): { name: PresetName; config: PartialRunConfig } {
  if (!Object.hasOwn(presets, name)) {
    throw new UserError(
      `There is no preset "${name}"${didYouMean(name, presetNames)} Known: ${presetNames.join(", ")}.`,
    );
  }
  return { name: name as PresetName, config: presets[name as PresetName] };
}
