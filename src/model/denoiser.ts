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
import { type ActiveRows, heldKeysAndValues, type KeysAndValues, takeRows } from "./active-rows.js";
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
  /** Of the drawn rows, from a last layer of their own; null: there are none. */
  readonly drawn: Prediction | null;
  /** Of every layer. */
  readonly keysAndValues: readonly KeysAndValues[];
  /** A value per layer with experts, in order. */
  readonly routers: readonly { readonly losses: RouterLosses; readonly statistics: RouterStatistics }[];
}

export interface DenoiserInput {
  readonly rows: RowInputs;
  readonly tokens: Embeddings;
  readonly codes: NoisyCodes;
  /** The head's last output f [T, D] (x0_hat where prediction is "embedding"), of all rows, when self-conditioning. */
  readonly selfCondition?: Tensor | null;
  readonly dropout?: Dropout;
  /** Rows, of those that are computed, for which the last layer and the prediction are wanted by themselves. Default: none. */
  readonly drawn?: ActiveRows | null;
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
  const { recompute = false, drawn = null } = input;
  const { batchSize, length } = rows.shape;
  const positions = batchSize * length;
  const channel = channelOf(rows, tokens, codes);
  const x = withScope("input", () =>
    networkInput(config, rows, tokens, channel, codes.previous ?? false, { recompute }),
  );
  let h = dropout("input", inputLayer(config, rows, x, selfCondition, p));
  const held = new Map<number, KeysAndValues>();
  const context: LayerContext = {
    config,
    rows,
    masks: new MaskCache(rows.layout),
    cached: rows.active && new CachedKeys(rows.layout, rows.active, rows.active),
    held: (layer) => {
      const own = held.get(layer) ?? heldKeysAndValues(layer, rows.shape, config.hiddenSize);
      held.set(layer, own);
      return own;
    },
    drawn: null,
    routed: rows.active?.present ?? greaterOrEqual(reshape(rows.layout.segment, [positions]), 0),
    dropout,
    parameter: p,
  };
  const routers: DenoiserOutput["routers"][number][] = [];
  const keysAndValues: KeysAndValues[] = [];
  const outputOf = (layer: ReturnType<typeof transformerLayer>): Tensor => {
    keysAndValues.push(layer.keysAndValues);
    const { losses, statistics } = layer.feedForward;
    if (losses && statistics) routers.push({ losses, statistics });
    return layer.output;
  };
  const last = config.numLayers - 1;
  for (let layer = 0; layer < last; layer++)
    h = outputOf((recompute ? checkpointedLayer : transformerLayer)(h, layer, context));
  /** The last layer. The backward pass begins with it: nothing would be gained by letting go of what it keeps. */
  const lastLayer = (own: LayerContext, some: ActiveRows | null) => {
    const predicted = predictedPositions(rows, channel !== null, some);
    const routed = some ? and(takeRows(predicted, some), some.present) : predicted;
    return { predicted, layer: transformerLayer(h, last, { ...own, routed }) };
  };
  const predictionOf = (output: Tensor, predicted: Tensor, active: ActiveRows | null): Prediction =>
    withScope("output", () => {
      const normed =
        config.normPlacement === "pre"
          ? layerNorm(output, p("output_norm.weight"), p("output_norm.bias"), config.normEpsilon)
          : output;
      const own = { config, tokens, channel, active, input: x.all, predicted, recompute, parameter: p };
      return predict(normed, own);
    });
  const whole = lastLayer(context, rows.active);
  const drawnLayer =
    drawn && lastLayer({ ...context, drawn, cached: new CachedKeys(rows.layout, drawn, rows.active) }, drawn);
  return {
    ...predictionOf(outputOf(whole.layer), whole.predicted, rows.active),
    drawn: drawnLayer && predictionOf(drawnLayer.layer.output, drawnLayer.predicted, drawn),
    keysAndValues,
    routers,
  };
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
  const { output, inner, key, value, balance, z, demand, entropy } = found;
  const routed = balance !== undefined;
  return {
    output,
    keysAndValues: { key, value },
    feedForward: {
      output: inner,
      losses: routed ? { balance, z } : null,
      statistics: routed ? { demand, entropy } : null,
    } satisfies FeedForwardResult,
  };
};
