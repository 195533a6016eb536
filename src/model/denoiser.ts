/**
 * @file The denoiser: from noisy rows to a prediction of x0 and logits over the vocabulary.
 *
 *   h0 = input(z_t, t, flags);  h_{l+1} = layer_l(h_l);  x0_hat, logits = prediction(LN(h_L))
 */
import type { ModelConfig } from "../config/model-config.js";
import {
  and,
  checkpoint,
  greaterOrEqual,
  layerNorm,
  reshape,
  type Tensor,
  withScope,
} from "../graph/index.js";
import { type KeysAndValues, takeRows } from "./active-rows.js";
import { CachedKeys } from "./attention/cached.js";
import { MaskCache } from "./attention/operator.js";
import { type Embeddings, embeddingParameters } from "./embeddings.js";
import type { FeedForwardResult } from "./experts/feed-forward.js";
import type { RouterLosses, RouterStatistics } from "./experts/router-losses.js";
import { channelOf, inputLayer, inputParameters, type NoisyCodes, networkInput } from "./input.js";
import { type Dropout, type LayerContext, layerParameters, noDropout, transformerLayer } from "./layer.js";
import type { RowInputs } from "./layout.js";
import { layerNormParameters, type ParameterDefinition, type ParameterLookup } from "./parameters.js";
import { type Prediction, predict, predictedPositions, predictionParameters } from "./prediction.js";
import { timeParameters } from "./time.js";

const outputNormParameters = ({ normPlacement, hiddenSize }: ModelConfig): ParameterDefinition[] =>
  normPlacement === "pre" ? layerNormParameters("output_norm", hiddenSize) : [];

/** All parameters and buffers of a model, in the order they are stored. */
export function denoiserParameters(config: ModelConfig): ParameterDefinition[] {
  return [
    ...embeddingParameters(config),
    ...inputParameters(config),
    ...timeParameters(config),
    ...Array.from({ length: config.numLayers }, (_, layer) => layerParameters(config, layer)).flat(),
    ...outputNormParameters(config),
    ...predictionParameters(config),
  ];
}

/**
 * The trainable parameters in as many groups as wanted, in the order in which a backward pass finishes their gradients: the prediction's
 * with the last layers', layers before them, at last the first layers' with those of everything before.
 */
export function backwardPieces(config: ModelConfig, count: number): ParameterDefinition[][] {
  const { numLayers } = config;
  const layers = Array.from({ length: numLayers }, (_, layer) => layerParameters(config, layer));
  const parts = Array.from({ length: count }, (_, piece) => {
    const bound = (k: number) => numLayers - Math.round((numLayers * k) / count);
    return layers.slice(bound(piece + 1), bound(piece)).flat();
  });
  parts[0] = [...parts[0], ...outputNormParameters(config), ...predictionParameters(config)];
  const placed = new Set(parts.flat().map(({ name }) => name));
  parts[count - 1].push(...denoiserParameters(config).filter(({ name }) => !placed.has(name)));
  return parts.map((part) => part.filter(({ trainable }) => trainable));
}

export interface DenoiserOutput extends Prediction {
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

/** Builds the network. Nothing here knows about losses or samplers. */
export function denoise(config: ModelConfig, input: DenoiserInput): DenoiserOutput {
  const { rows, tokens, codes, selfCondition = null, dropout = noDropout, parameter: p } = input;
  const { recompute = false } = input;
  const { batchSize, length } = rows.shape;
  const positions = batchSize * length;
  const channel = channelOf(rows, tokens, codes);
  const x = withScope("input", () =>
    networkInput(config, rows, tokens, channel, codes.previous ?? false, { recompute }),
  );
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
  const predicted = predictedPositions(rows, channel !== null);
  const routedLast = rows.active ? and(takeRows(predicted, rows.active), rows.active.present) : predicted;
  const routers: DenoiserOutput["routers"][number][] = [];
  const keysAndValues: KeysAndValues[] = [];
  for (let layer = 0; layer < config.numLayers; layer++) {
    const last = layer === config.numLayers - 1;
    // The backward pass begins with the last layer: nothing would be gained by letting go of it.
    const run = recompute && !last ? checkpointedLayer : transformerLayer;
    const own = run(h, layer, last ? { ...context, routed: routedLast } : context);
    h = own.output;
    keysAndValues.push(own.keysAndValues);
    const { losses, statistics } = own.feedForward;
    if (losses && statistics) routers.push({ losses, statistics });
  }
  return withScope("output", () => {
    if (config.normPlacement === "pre")
      h = layerNorm(h, p("output_norm.weight"), p("output_norm.bias"), config.normEpsilon);
    return {
      ...predict(h, {
        config,
        tokens,
        channel,
        active: rows.active,
        input: x.all,
        predicted,
        recompute,
        parameter: p,
      }),
      keysAndValues,
      routers,
    };
  });
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
