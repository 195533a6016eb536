/**
 * @file Twins: what a mixture-of-experts diffusion model is held against. Each is the base configuration with a few settings changed, so
 * data order, seeds, sizes, optimiser and every other choice are the same, and a difference belongs to what was changed.
 *
 *   dense twins: hidden width f of the dense block such that   learning parameters at work on a token = the base's   (or: in all = all)
 *
 * Learning parameters: frozen tables (codebook, unigram frequencies) do not count.
 */
import { configFromLayers, type PartialRunConfig, type RunConfig } from "../../config/index.js";
import { UserError } from "../../errors.js";
import { costOf } from "../../model/cost.js";

export const twinNames = [
  "moe-diffuseq",
  "dense-active",
  "dense-total",
  "sparse-attention",
  "experts",
  "no-absorbing",
  "diffuseq-v2",
  "masked",
  "autoregressive",
] as const;
export type TwinName = (typeof twinNames)[number];

const fullAttention = { full: true, globalTokens: 0, textGlobals: "none", maxTextGlobals: 0 } as const;
const neverAbsorbed = {
  model: { absorbingState: "zero" },
  diffusion: { absorbRate: 0, absorbingNormWeight: 0 },
} as const satisfies PartialRunConfig;
const noNoise = {
  model: {
    codebook: "learned",
    inputDecoding: "none",
    prediction: "mixture",
    absorbingState: "learned",
  },
  diffusion: {
    gaussian: false,
    absorbRate: 1,
    schedule: "linear",
    mseWeight: 0,
    priorWeight: 0,
    absorbingNormWeight: 0,
  },
} as const satisfies PartialRunConfig;

/** Which of the base's parameters a twin without experts has as many of. */
type Matched = "active" | "total";

interface Twin {
  readonly description: string;
  readonly change: PartialRunConfig;
  /** Dense, as wide as makes these counts equal; absent: the base's own blocks. */
  readonly dense?: Matched;
}

export const twinDefinitions: Readonly<Record<TwinName, Twin>> = {
  "moe-diffuseq": { description: "sparse attention, experts, soft absorbing state", change: {} },
  "dense-active": {
    description: "DiffuSeq: full attention, no experts, no absorbing state; as many parameters at work",
    change: {
      model: { attention: fullAttention, ...neverAbsorbed.model },
      diffusion: neverAbsorbed.diffusion,
    },
    dense: "active",
  },
  "dense-total": {
    description: "DiffuSeq with as many parameters in all",
    change: {
      model: { attention: fullAttention, ...neverAbsorbed.model },
      diffusion: neverAbsorbed.diffusion,
    },
    dense: "total",
  },
  "sparse-attention": { description: "sparse attention only: no experts", change: {}, dense: "active" },
  experts: { description: "experts only: full attention", change: { model: { attention: fullAttention } } },
  "no-absorbing": { description: "no absorbing state", change: neverAbsorbed },
  "diffuseq-v2": {
    description: "DiffuSeq-v2: full attention, no experts, soft absorbing state",
    change: { model: { attention: fullAttention } },
    dense: "active",
  },
  masked: { description: "the masked limit: absorption and no Gaussian noise", change: noNoise },
  autoregressive: {
    description: "left-to-right transformer: full causal attention, no experts, next-token loss",
    change: {
      model: {
        ...noNoise.model,
        timeConditioning: false,
        selfConditioning: false,
        attention: { ...fullAttention, causal: true },
      },
      diffusion: { ...noNoise.diffusion, objective: "next-token" },
      // It reads from the left whatever is given: gaps would only leave it fewer tokens to learn from.
      data: { gapRate: 0 },
    },
    dense: "active",
  },
};

/** Learning parameters of a model, in all and at work on one token. */
export function learningParameters({ model }: RunConfig): Readonly<Record<Matched, number>> {
  const { total, trainable, active } = costOf(model, { batchSize: 1, length: 1 }).parameters;
  return { total: trainable, active: active - (total - trainable) };
}

/**
 * One twin of a base configuration.
 * @throws UserError when the base has no experts, or is not a Gaussian process with an absorbing state: there would be nothing to leave out
 */
export function twin(base: RunConfig, name: TwinName): RunConfig {
  const { numExperts } = base.model.experts;
  if (numExperts <= 1 || !base.diffusion.gaussian || base.diffusion.absorbRate === 0)
    throw new UserError(
      "twins: expected a base with experts, Gaussian noise and an absorbing state, such as the preset moe-diffuseq; " +
        `got ${numExperts} experts, gaussian ${base.diffusion.gaussian}, absorbRate ${base.diffusion.absorbRate}`,
    );
  const { change, dense } = twinDefinitions[name];
  const changed = (...more: PartialRunConfig[]): RunConfig =>
    configFromLayers([
      { name: "base", config: base },
      { name: `twin ${name}`, config: change },
      ...more.map((config) => ({ name: `twin ${name}`, config })),
    ]);
  if (!dense) return changed();
  const withWidth = (feedForwardSize: number) =>
    changed({ model: { experts: { numExperts: 0 }, feedForwardSize } });
  // Parameters grow by the same number with every unit of width.
  const wanted = learningParameters(base)[dense];
  const [one, two] = [1, 2].map((width) => learningParameters(withWidth(width)).total);
  return withWidth(Math.max(1, 1 + Math.round((wanted - one) / (two - one))));
}

/** Several twins by name, in the order asked for. @throws UserError for a name that is none */
export function twins(base: RunConfig, names: readonly string[] = twinNames): Map<TwinName, RunConfig> {
  const unknown = names.find((name) => !(twinNames as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw new UserError(`There is no twin "${unknown}"; there are ${twinNames.join(", ")}.`);
  return new Map((names as readonly TwinName[]).map((name) => [name, twin(base, name)]));
}
