/**
 * @file The denoiser: from noisy rows to a prediction of x0 and logits over the vocabulary.
 *
 *   h0 = input(z_t, t, flags);  h_{l+1} = layer_l(h_l);  x0_hat = W LN(h_L) + b in R^D
 *   logits = scale * x0_hat E^T + (a_t / sigma_t^2) u C^T + bias
 *
 * The second term (with the posterior-mean input) is what the noisy code alone says, so that the network predicts what context adds:
 * at the start of training the prediction is the Bayes decode of the channel. Tied to E (METHOD); C is the codebook the noise acts on.
 */
import type { ModelConfig } from "../config/model-config.js";
import {
  add,
  greater,
  greaterOrEqual,
  type LogitTerm,
  layerNorm,
  less,
  linear,
  mul,
  reshape,
  type Tensor,
  withScope,
} from "../graph/index.js";
import { MaskCache } from "./attention/operator.js";
import { type Embeddings, embeddingParameters, OUTPUT_BIAS } from "./embeddings.js";
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

export interface DenoiserOutput {
  /** The head's own output x0_hat, [T, D]. */
  readonly embedding: Tensor;
  /** The logits as products with tables, not yet multiplied out: crossEntropy and tiedLogits take them. */
  readonly logitTerms: readonly LogitTerm[];
  readonly bias: Tensor;
  /** bool [T]: the positions that are predicted (see `predictedPositions`); elsewhere the output means nothing. */
  readonly predicted: Tensor;
  /** A value per layer with experts, in order. */
  readonly routers: readonly { readonly losses: RouterLosses; readonly statistics: RouterStatistics }[];
}

export interface DenoiserInput {
  readonly rows: RowInputs;
  readonly tokens: Embeddings;
  readonly codes: NoisyCodes;
  /** The last prediction [T, D] when self-conditioning. */
  readonly selfCondition?: Tensor | null;
  readonly dropout?: Dropout;
  readonly parameter: ParameterLookup;
}

/**
 * bool [T]: the positions a prediction is wanted at: all targets, or in the masked limit those that are absorbed, as the others are
 * known. The last layer's experts, the vocabulary and the loss run there alone; for half-masked text that halves their cost.
 */
function predictedPositions({ given, absorbed, shape }: RowInputs, gaussian: boolean): Tensor {
  const wanted = gaussian ? less(given, 0.5) : greater(absorbed, 0.5);
  return reshape(wanted, [shape.batchSize * shape.length]);
}

/** Builds the network. Nothing here knows about losses or samplers. */
export function denoise(config: ModelConfig, input: DenoiserInput): DenoiserOutput {
  const { rows, tokens, codes, selfCondition = null, dropout = noDropout, parameter: p } = input;
  const { batchSize, length } = rows.shape;
  const positions = batchSize * length;
  const x = withScope("input", () => networkInput(config, rows, tokens, codes));
  let h = dropout("input", inputLayer(config, rows, x, selfCondition, p));
  const context: LayerContext = {
    config,
    rows,
    masks: new MaskCache(rows.layout),
    routed: greaterOrEqual(reshape(rows.layout.segment, [positions]), 0),
    dropout,
    parameter: p,
  };
  const predicted = predictedPositions(rows, codes.centred !== null);
  const routers: DenoiserOutput["routers"][number][] = [];
  for (let layer = 0; layer < config.numLayers; layer++) {
    const last = layer === config.numLayers - 1;
    const { output, feedForward } = transformerLayer(
      h,
      layer,
      last ? { ...context, routed: predicted } : context,
    );
    h = output;
    const { losses, statistics } = feedForward;
    if (losses && statistics) routers.push({ losses, statistics });
  }
  return withScope("output", () => {
    if (config.normPlacement === "pre")
      h = layerNorm(h, p("output_norm.weight"), p("output_norm.bias"), config.normEpsilon);
    const embedding = linear(h, p("output.weight"), p("output.bias"));
    return {
      embedding,
      logitTerms: logitTerms(config, rows, tokens, codes, embedding),
      bias: p(OUTPUT_BIAS),
      predicted,
      routers,
    };
  });
}

function logitTerms(
  config: ModelConfig,
  rows: RowInputs,
  tokens: Embeddings,
  { centred }: NoisyCodes,
  embedding: Tensor,
): LogitTerm[] {
  const own = mul(embedding, config.logitScale);
  if (!centred || config.inputDecoding === "none") return [{ x: own, table: tokens.table }];
  const channel = channelTerm(rows, tokens, centred);
  // One product serves both when the noise acts on the embeddings themselves.
  if (channel.table === tokens.table) return [{ x: add(own, channel.x), table: tokens.table }];
  return [{ x: own, table: tokens.table }, channel];
}

/** log p(z | token) up to a constant, as a product: (a_t / sigma_t^2) u C^T. */
export const channelTerm = (rows: RowInputs, tokens: Embeddings, centred: Tensor): LogitTerm => ({
  x: mul(centred, reshape(rows.channel, [rows.shape.batchSize * rows.shape.length, 1])),
  table: tokens.codebook,
});
