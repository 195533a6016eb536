/**
 * @file The denoiser: from noisy rows to a prediction of x0 and logits over the vocabulary.
 *
 *   h0 = input(z_t, t, flags);  h_{l+1} = layer_l(h_l);  f = W LN(h_L) + b in R^D
 *   logits = scale * f E^T + (a_t / sigma_t^2) u C^T + bias;  x0_hat = f, or sum_v p(v) E_v
 *
 * The second term (with the posterior-mean input) is what the noisy code alone says, so that the network predicts what context adds:
 * at the start of training the prediction is the Bayes decode of the channel. Tied to E (METHOD); C is the codebook the noise acts on.
 *
 * Where x0_hat is the head's own (prediction "embedding") and the network is given the posterior mean x = E[x0 | z], logits take
 * d f for f, with d = sqrt(E|x0 - x|^2 / D) the deviation that the channel leaves open:
 *
 *   logits = scale * d f E^T + (a_t / sigma_t^2) u C^T + bias
 *
 * For f, which is to be all of x0, tells again what the channel told: counted twice, it makes the network worse than no network where
 * the code alone is all but certain.
 */
import type { ModelConfig } from "../config/model-config.js";
import {
  add,
  and,
  checkpoint,
  greater,
  greaterOrEqual,
  type LogitTerm,
  layerNorm,
  less,
  linear,
  maximum,
  mul,
  reduceMean,
  reshape,
  sqrt,
  sub,
  type Tensor,
  where,
  withScope,
} from "../graph/index.js";
import { type KeysAndValues, takeRows } from "./active-rows.js";
import { CachedKeys } from "./attention/cached.js";
import { MaskCache } from "./attention/operator.js";
import { type Embeddings, embeddingParameters, OUTPUT_BIAS } from "./embeddings.js";
import type { FeedForwardResult } from "./experts/feed-forward.js";
import type { RouterLosses, RouterStatistics } from "./experts/router-losses.js";
import { inputLayer, inputParameters, type NoisyCodes, networkInput } from "./input.js";
import { type Dropout, type LayerContext, layerParameters, noDropout, transformerLayer } from "./layer.js";
import type { RowInputs } from "./layout.js";
import {
  layerNormParameters,
  linearParameters,
  type ParameterDefinition,
  type ParameterLookup,
} from "./parameters.js";
import { timeParameters } from "./time.js";

/** All parameters and buffers of a model, in the order they are stored. */
export function denoiserParameters(config: ModelConfig): ParameterDefinition[] {
  const { hiddenSize, embeddingSize, vocabSize } = config;
  return [
    ...embeddingParameters(config),
    ...inputParameters(config),
    ...timeParameters(config),
    ...Array.from({ length: config.numLayers }, (_, layer) => layerParameters(config, layer)).flat(),
    ...(config.normPlacement === "pre" ? layerNormParameters("output_norm", hiddenSize) : []),
    ...linearParameters("output", embeddingSize, hiddenSize, 0.3 / Math.sqrt(hiddenSize)),
    { name: OUTPUT_BIAS, shape: [vocabSize], trainable: true, init: { kind: "zeros" } },
  ];
}

/** R: the rows that are computed, all T = B*N of them or the active ones (rows.active). */
export interface DenoiserOutput {
  /** The head's own output f, [R, D]: x0_hat where prediction is "embedding". */
  readonly embedding: Tensor;
  /** The logits as products with tables, not yet multiplied out: crossEntropy and tiedLogits take them. */
  readonly logitTerms: readonly LogitTerm[];
  readonly bias: Tensor;
  /** bool [R]: the positions that are predicted (see `predictedPositions`); elsewhere the output means nothing. */
  readonly predicted: Tensor;
  /** Of every layer. */
  readonly keysAndValues: readonly KeysAndValues[];
  /** A value per layer with experts, in order. */
  readonly routers: readonly { readonly losses: RouterLosses; readonly statistics: RouterStatistics }[];
}

export interface DenoiserInput {
  readonly rows: RowInputs;
  readonly tokens: Embeddings;
  readonly codes: NoisyCodes;
  /** The last prediction [T, D], of all rows, when self-conditioning. */
  readonly selfCondition?: Tensor | null;
  readonly dropout?: Dropout;
  /**
   * Keep only what enters a layer for the backward pass, and compute the layer again there; of probabilities over the vocabulary keep
   * nothing. Default: false.
   */
  readonly recompute?: boolean;
  readonly parameter: ParameterLookup;
}

/**
 * bool [R]: the positions a prediction is wanted at: all targets, or in the masked limit those that are absorbed, as the others are
 * known. The last layer's experts, the vocabulary and the loss run there alone; for half-masked text that halves their cost.
 */
function predictedPositions({ given, absorbed, shape, active }: RowInputs, gaussian: boolean): Tensor {
  const wanted = gaussian ? less(given, 0.5) : greater(absorbed, 0.5);
  const positions = reshape(wanted, [shape.batchSize * shape.length]);
  return active ? and(takeRows(positions, active), active.present) : positions;
}

/** Builds the network. Nothing here knows about losses or samplers. */
export function denoise(config: ModelConfig, input: DenoiserInput): DenoiserOutput {
  const { rows, tokens, codes, selfCondition = null, dropout = noDropout, parameter: p } = input;
  const { recompute = false } = input;
  const { batchSize, length } = rows.shape;
  const positions = batchSize * length;
  const x = withScope("input", () => networkInput(config, rows, tokens, codes, { recompute }));
  let h = dropout("input", inputLayer(config, rows, x, selfCondition, p));
  const context: LayerContext = {
    config,
    rows,
    masks: new MaskCache(rows.layout),
    cached: rows.active && new CachedKeys(rows.layout, rows.active),
    routed: rows.active?.present ?? greaterOrEqual(reshape(rows.layout.segment, [positions]), 0),
    dropout,
    parameter: p,
  };
  const predicted = predictedPositions(rows, codes.centred !== null);
  const routers: DenoiserOutput["routers"][number][] = [];
  const keysAndValues: KeysAndValues[] = [];
  for (let layer = 0; layer < config.numLayers; layer++) {
    const last = layer === config.numLayers - 1;
    // The backward pass begins with the last layer: nothing would be gained by letting go of it.
    const run = recompute && !last ? checkpointedLayer : transformerLayer;
    const own = run(h, layer, last ? { ...context, routed: predicted } : context);
    h = own.output;
    keysAndValues.push(own.keysAndValues);
    const { losses, statistics } = own.feedForward;
    if (losses && statistics) routers.push({ losses, statistics });
  }
  return withScope("output", () => {
    if (config.normPlacement === "pre")
      h = layerNorm(h, p("output_norm.weight"), p("output_norm.bias"), config.normEpsilon);
    const head = linear(h, p("output.weight"), p("output.bias"));
    const open = config.prediction === "embedding" ? posteriorDeviation(config, rows, codes, x) : null;
    return {
      embedding: head,
      logitTerms: logitTerms(config, rows, tokens, codes, open ? mul(head, open) : head),
      bias: p(OUTPUT_BIAS),
      predicted,
      keysAndValues,
      routers,
    };
  });
}

/**
 * How far x0 is from its posterior mean, the network's input x [T, D] in the Gaussian branch: sqrt(E|x0 - x|^2 / D) [R, 1], and 1 at
 * absorbed positions. null where the network is not given that mean. Rows of E have unit mean square, so E|x0 - x|^2 = D - |x|^2; the
 * added 1e-4 keeps the root's gradient finite.
 */
function posteriorDeviation(
  config: ModelConfig,
  { absorbed, shape, active }: RowInputs,
  { centred }: NoisyCodes,
  input: Tensor,
): Tensor | null {
  if (!centred || config.inputDecoding === "none" || config.embeddingNorm === "none") return null;
  const x = takeRows(input, active);
  const gaussian = less(takeRows(reshape(absorbed, [shape.batchSize * shape.length, 1]), active), 0.5);
  const variance = sub(1 + 1e-4, reduceMean(mul(x, x), [1], true));
  return where(gaussian, sqrt(maximum(variance, 1e-4)), 1);
}

/** `transformerLayer` as one checkpoint. */
const checkpointedLayer: typeof transformerLayer = (h, layer, context) => {
  let names: string[] = [];
  const results = checkpoint([h], ([x]) => {
    const { output, feedForward, keysAndValues } = transformerLayer(x, layer, context);
    const { losses, statistics } = feedForward;
    const inner = feedForward.output;
    const all: Record<string, Tensor> = { output, inner, ...keysAndValues, ...losses, ...statistics };
    names = Object.keys(all);
    return Object.values(all);
  });
  const found = Object.fromEntries(names.map((name, i) => [name, results[i]]));
  const { output, inner, key, value, balance, z, counts, rowCounts, entropy } = found;
  const routed = balance !== undefined;
  return {
    output,
    keysAndValues: { key, value },
    feedForward: {
      output: inner,
      losses: routed ? { balance, z } : null,
      statistics: routed ? { counts, rowCounts, entropy } : null,
    } satisfies FeedForwardResult,
  };
};

function logitTerms(
  config: ModelConfig,
  rows: RowInputs,
  tokens: Embeddings,
  { centred }: NoisyCodes,
  head: Tensor,
): LogitTerm[] {
  const own = mul(head, config.logitScale);
  if (!centred || config.inputDecoding === "none") return [{ x: own, table: tokens.table }];
  const channel = channelTerm(rows, tokens, centred);
  // One product serves both when the noise acts on the embeddings themselves.
  if (channel.table === tokens.table) return [{ x: add(own, channel.x), table: tokens.table }];
  return [{ x: own, table: tokens.table }, channel];
}

/** log p(z | token) up to a constant, as a product: (a_t / sigma_t^2) u C^T. */
export const channelTerm = (rows: RowInputs, tokens: Embeddings, centred: Tensor): LogitTerm => {
  const positions = rows.shape.batchSize * rows.shape.length;
  const x = mul(centred, reshape(rows.channel, [positions, 1]));
  return { x: takeRows(x, rows.active), table: tokens.codebook };
};
