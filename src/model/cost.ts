/**
 * @file What a model costs: parameters, arithmetic and memory, counted from its configuration alone.
 *
 *     flops of a product [m, k] x [k, n] = 2 m k n;    forward = sum over products;    training = forward + their gradients + recomputation
 *
 * Only matrix products count, as is the custom; they are exactly those of the graphs that run (a test holds both against each other).
 * Counted as if every position were a target, noisy and to be predicted: where some are given or absorbed, the graphs leave rows out of
 * the products over the vocabulary and of the last layer's experts.
 * T = batchSize * length positions, H = hiddenSize, D = embeddingSize, V = vocabSize.
 */
import type { ModelConfig } from "../config/model-config.js";
import { keepsProbabilities } from "../graph/index.js";
import { blockPlan, computedPairs, layerPattern } from "./attention/pattern.js";
import { denoiserParameters } from "./denoiser.js";
import { CODEBOOK } from "./embeddings.js";
import { capacityOf } from "./experts/router.js";
import { logitHead } from "./prediction.js";

export interface CostShape {
  /** Rows a step computes at once. */
  readonly batchSize: number;
  /** Positions a row. */
  readonly length: number;
  /** Slots for global tokens a row. Default: those of one document. Rows packed with several documents need them for each. */
  readonly globalSlots?: number;
  /** Whether weights are averaged in training. Default true. */
  readonly ema?: boolean;
  /** Whether layers are computed again in the backward pass instead of kept (activation checkpointing). Default false. */
  readonly recompute?: boolean;
}

/** Where the arithmetic is done. */
export const flopParts = [
  "decoding",
  "input",
  "time",
  "projections",
  "attention",
  "router",
  "feedForward",
  "output",
  "vocabulary",
] as const;
export type FlopPart = (typeof flopParts)[number];

export interface ParameterCount {
  /** Everything in model.safetensors, buffers included. */
  readonly total: number;
  /** What the optimiser updates. */
  readonly trainable: number;
  /** Of the total, what one token passes through: `topK` of the routed experts (top-p: at most). */
  readonly active: number;
  /** Of the total: token embeddings, codebook, learned global tokens, absorbing state. */
  readonly embedding: number;
  /** The total in parts. */
  readonly byPart: Readonly<Record<"embedding" | "attention" | "feedForward" | "router" | "other", number>>;
}

export interface ModelCost {
  readonly parameters: ParameterCount;
  /** Floating-point operations of a batch. */
  readonly flops: {
    /** The network and the cross entropy of its prediction. */
    readonly forward: number;
    /** One training step without the optimiser: forward, gradients, and what is computed twice to save memory. */
    readonly training: number;
    /** Parts of `forward`. */
    readonly byPart: Readonly<Record<FlopPart, number>>;
  };
  /** The same for each position. */
  readonly flopsPerToken: { readonly forward: number; readonly training: number; readonly attention: number };
  /** Bytes. */
  readonly memory: {
    /** Values, gradients, both moments and (with `ema`) averages. */
    readonly optimizer: number;
    /** Values alone: what generating needs. */
    readonly values: number;
    /** Estimate of the tensors alive at once in a training step. */
    readonly activations: number;
    /** One checkpoint on the disk. */
    readonly checkpoint: number;
  };
}

/** A matrix product of the forward pass. */
interface Product {
  readonly part: FlopPart;
  readonly flops: number;
  /** Products of the same size in the backward pass: 2 when both sides learn, 1 when one side does. */
  readonly backward: number;
  /** It is computed a second time in the backward pass. */
  readonly again?: boolean;
}

const FLOAT = 4;

/** Slots for global tokens that one document needs. */
export const globalSlotsOf = ({ attention }: ModelConfig): number =>
  attention.globalTokens + (attention.textGlobals === "none" ? 0 : attention.maxTextGlobals);

/** Parameters, arithmetic and memory of a model run on batches of `shape`. */
export function costOf(model: ModelConfig, shape: CostShape): ModelCost {
  const { ema = true } = shape;
  const parameters = countParameters(model);
  const products = productsOf(model, shape);
  const sum = (value: (product: Product) => number) => products.reduce((total, p) => total + value(p), 0);
  const byPart = Object.fromEntries(
    flopParts.map((part) => [part, sum((p) => (p.part === part ? p.flops : 0))]),
  ) as Record<FlopPart, number>;
  const positions = shape.batchSize * shape.length;
  const forward = sum((p) => p.flops);
  const training = forward + sum((p) => p.flops * (p.backward + Number(p.again ?? false)));
  const slots = ema ? 2 : 1;
  return {
    parameters,
    flops: { forward, training, byPart },
    flopsPerToken: {
      forward: forward / positions,
      training: training / positions,
      attention: byPart.attention / positions,
    },
    memory: {
      values: FLOAT * parameters.total,
      optimizer: FLOAT * (parameters.total + (slots + 2) * parameters.trainable),
      activations: FLOAT * activationElements(model, shape),
      checkpoint: FLOAT * (parameters.total + (slots + 1) * parameters.trainable),
    },
  };
}

function countParameters(model: ModelConfig): ParameterCount {
  const sizes = denoiserParameters(model).map(({ name, shape, trainable }) => ({
    name,
    trainable,
    size: shape.reduce((a, b) => a * b, 1),
  }));
  const sum = (of: typeof sizes) => of.reduce((total, { size }) => total + size, 0);
  const matching = (pattern: RegExp) => sum(sizes.filter(({ name }) => pattern.test(name)));
  const total = sum(sizes);
  const { numExperts, topK } = model.experts;
  const routed = matching(/\.experts\.\d+\./);
  const embedding = matching(
    new RegExp(`^(embeddings|global_tokens)\\.|^absorbing_state$|^${CODEBOOK.replace(".", "\\.")}$`),
  );
  const byPart = {
    embedding,
    attention: matching(/^layers\.\d+\.attention\./),
    feedForward: matching(/\.(experts\.\d+|shared_expert|mlp)\./),
    router: matching(/\.router\./),
  };
  const named = Object.values(byPart).reduce((a, b) => a + b, 0);
  return {
    total,
    trainable: sum(sizes.filter(({ trainable }) => trainable)),
    active: numExperts > 1 ? total - (routed * (numExperts - topK)) / numExperts : total,
    embedding,
    byPart: { ...byPart, other: total - named },
  };
}

/** Rows that all experts of a layer compute together when no position is padding (top-p: at most). */
function expertRows({ experts }: ModelConfig, { batchSize, length }: CostShape): number {
  const { numExperts, topK, router, capacityFactor } = experts;
  const even = (factor: number) => batchSize * numExperts * capacityOf(length, factor, experts);
  if (router === "expert-choice") return even(Math.min(capacityFactor ?? 1, 1));
  const chosen = batchSize * length * topK;
  return capacityFactor === null ? chosen : Math.min(chosen, even(capacityFactor));
}

/** Slots a token's results stand in: its choices, or one for each expert when the experts choose. */
const resultColumns = ({ experts: { router, numExperts, topK } }: ModelConfig): number =>
  router === "expert-choice" ? numExperts : topK;

/** Query-key pairs of one row in one layer, summed over the heads. */
function pairsOf(
  model: ModelConfig,
  layer: number,
  { length, globalSlots = globalSlotsOf(model) }: CostShape,
) {
  const { heads } = layerPattern(model.attention, layer, model.numHeads);
  return heads.reduce((sum, head) => sum + computedPairs(head, length, globalSlots), 0);
}

function productsOf(model: ModelConfig, shape: CostShape): Product[] {
  const { hiddenSize, embeddingSize, vocabSize, numLayers, numHeads, experts } = model;
  const { batchSize, length } = shape;
  const positions = batchSize * length;
  const products: Product[] = [];
  const take = (part: FlopPart, rows: number, inner: number, columns: number, backward = 2, again = false) =>
    products.push({ part, flops: 2 * rows * inner * columns, backward, again });
  const { recompute = false } = shape;
  const overVocabulary = !keepsProbabilities(positions, vocabSize, { recompute });
  const decodes = model.inputDecoding === "posterior-mean";
  const learned = model.codebook === "learned";

  if (decodes) {
    // A frozen codebook needs no gradient, and neither does the code made of it: only the table of the mean learns.
    take("decoding", positions, embeddingSize, vocabSize, learned ? 2 : 0, overVocabulary);
    take("decoding", positions, vocabSize, embeddingSize, learned ? 2 : 1);
  }
  take("input", positions, model.inputConvolution * embeddingSize, hiddenSize);
  if (model.selfConditioning) take("input", positions, embeddingSize, hiddenSize, 1);
  if (model.timeConditioning) {
    take("time", batchSize, 2 * Math.ceil(hiddenSize / 2), hiddenSize, 1);
    take("time", batchSize, hiddenSize, hiddenSize);
  }
  for (let layer = 0; layer < numLayers; layer++) {
    const again = recompute && layer < numLayers - 1; // the backward pass begins with the last
    const ends = again && model.normPlacement === "post"; // before a residual sum that only a norm asks for
    for (let projection = 0; projection < 4; projection++)
      take("projections", positions, hiddenSize, hiddenSize, 2, again);
    const pairs = batchSize * pairsOf(model, layer, shape);
    for (let side = 0; side < 2; side++) take("attention", pairs, hiddenSize / numHeads, 1, 2, again);
    const block = (rows: number, inner: number, routed = false) => {
      take("feedForward", rows, hiddenSize, inner, 2, again);
      take("feedForward", rows, inner, hiddenSize, 2, routed ? again : ends);
    };
    if (experts.numExperts <= 1) {
      block(positions, model.feedForwardSize);
      continue;
    }
    take("router", positions, hiddenSize, experts.numExperts, 2, again);
    block(expertRows(model, shape), experts.intermediateSize, true);
    take("feedForward", positions, resultColumns(model), hiddenSize, 1, ends); // the gates' weighted sum
    if (experts.sharedExpertSize > 0) block(positions, experts.sharedExpertSize);
  }
  const heads = logitHead(model) === "output" ? 1 : 2;
  take("output", positions, hiddenSize, heads * embeddingSize);
  take("vocabulary", positions, embeddingSize, vocabSize, 2, overVocabulary);
  // With a frozen codebook the bias is a column more, and what the code says stands already if it was kept.
  const more = overVocabulary ? embeddingSize + 1 : 1;
  if (decodes && !learned) take("vocabulary", positions, more, vocabSize, 0, overVocabulary);
  return products;
}

/**
 * Elements alive at once in a training step, about: what the layers leave for the backward pass, the probabilities over the
 * vocabulary, and the largest piece in work.
 */
function activationElements(model: ModelConfig, shape: CostShape): number {
  const { hiddenSize, vocabSize, numLayers, experts, embeddingSize } = model;
  const { batchSize, length, globalSlots = globalSlotsOf(model) } = shape;
  const positions = batchSize * length;
  const wide = positions * hiddenSize;
  const sparse = experts.numExperts > 1;
  const rows = sparse ? expertRows(model, shape) : positions;
  const inner = sparse ? experts.intermediateSize : model.feedForwardSize;
  const { recompute = false } = shape;
  const layers: number[] = [];
  for (let layer = 0; layer < numLayers; layer++) {
    const { heads } = layerPattern(model.attention, layer, model.numHeads);
    const gathered = heads.reduce((sum, head) => {
      const plan = blockPlan(head, length, globalSlots);
      const keys = plan ? plan.blocks * (plan.globalKeys + plan.localKeys) : length;
      return sum + (2 * keys * hiddenSize) / heads.length;
    }, 0);
    const attention = batchSize * (pairsOf(model, layer, shape) + gathered) + 6 * wide;
    const branches = rows * (2 * inner + (sparse ? hiddenSize : 0));
    const results = sparse ? positions * resultColumns(model) * hiddenSize : 0;
    layers.push(attention + branches + results + 2 * positions * experts.sharedExpertSize + 3 * wide);
  }
  const kept = recompute
    ? Math.max(...layers) + (numLayers - 1) * wide
    : layers.reduce((sum, layer) => sum + layer, 0);
  const softmaxes = model.inputDecoding === "posterior-mean" ? 2 : 1;
  const whole = positions * vocabSize;
  const probabilities = keepsProbabilities(positions, vocabSize, { recompute }) ? softmaxes * whole : 0;
  const chunk = Math.min(positions, 1024) * vocabSize;
  return kept + probabilities + 2 * chunk + positions * embeddingSize * (4 + 2 * model.inputConvolution);
}
