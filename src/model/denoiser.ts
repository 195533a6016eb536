/**
 * @file The denoiser: from noisy rows to a prediction of x0 and logits over the vocabulary.
 *
 *   h0 = input(z_t, t, flags);  h_{l+1} = layer_l(h_l);  f = W LN(h_L) + b in R^D
 *   logits = scale * f E^T + (a_t / sigma_t^2) u C^T + bias;  x0_hat = f, or sum_v p(v) E_v
 *
 * The second term (with the posterior-mean input) is what the noisy code alone says, so that the network predicts what context adds:
 * at the start of training the prediction is the Bayes decode of the channel. Tied to E (METHOD); C is the codebook the noise acts on.
 *
 * Where x0_hat is the head's own (prediction "embedding") and the network is given the posterior mean x = E[x0 | z], logits have a head
 * g of their own, weighed by d = sqrt(E|x0 - x|^2 / D), the deviation that the channel leaves open:
 *
 *   logits = scale * d g E^T + (a_t / sigma_t^2) u C^T + bias,  g = W' LN(h_L) + b'
 *
 * For f, which is to be all of x0, tells again what the channel told: counted twice, it makes the network worse than no network where
 * the code alone is all but certain.
 */
import type { ModelConfig } from "../config/model-config.js";
import {
  add,
  after,
  and,
  checkpoint,
  concat,
  constant,
  greater,
  greaterOrEqual,
  keepsProbabilities,
  type LogitTerm,
  layerNorm,
  less,
  linear,
  maximum,
  mul,
  not,
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
import {
  type Channel,
  channelOf,
  inputLayer,
  inputParameters,
  type NoisyCodes,
  networkInput,
} from "./input.js";
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
    ...(logitHead(config) !== "output"
      ? linearParameters("logit_head", embeddingSize, hiddenSize, 0.3 / Math.sqrt(hiddenSize))
      : []),
    { name: OUTPUT_BIAS, shape: [vocabSize], trainable: true, init: { kind: "zeros" } },
  ];
}

/** The linear layer that logits come from: that of x0_hat, or one of their own beside it. */
export const logitHead = ({ prediction, inputDecoding }: ModelConfig): "output" | "logit_head" =>
  prediction === "embedding" && inputDecoding === "posterior-mean" ? "logit_head" : "output";

/** Logits as products with tables, not yet multiplied out: crossEntropy and tiedLogits take them. */
export interface Logits {
  readonly terms: readonly LogitTerm[];
  /** [V] */
  readonly bias: Tensor;
}

/** Logits of some rows. */
export interface RowLogits extends Logits {
  readonly name: "predicted" | "gaussian" | "absorbed";
  /** bool [R]: which. */
  readonly rows: Tensor;
}

/** R: the rows that are computed, all T = B*N of them or the active ones (rows.active). */
export interface DenoiserOutput {
  /** The head's own output f, [R, D]: x0_hat where prediction is "embedding". */
  readonly embedding: Tensor;
  /** The logits of any row that is predicted. */
  readonly logits: Logits;
  /** The same where they are cheapest: groups of rows that make up all that are predicted. */
  readonly rowLogits: readonly RowLogits[];
  /** bool [R]: the positions that are predicted (see `predictedPositions`); elsewhere the output means nothing. */
  readonly predicted: Tensor;
  /** bool [R]: those of them in the Gaussian branch; null in the masked limit. */
  readonly gaussian: Tensor | null;
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
  const channel = channelOf(rows, tokens, codes);
  const x = withScope("input", () => networkInput(config, rows, tokens, codes, channel, { recompute }));
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
    const embedding = linear(h, p("output.weight"), p("output.bias"));
    let evidence = embedding;
    if (logitHead(config) !== "output") {
      const open = channel && posteriorDeviation(config, rows, x);
      evidence = linear(h, p("logit_head.weight"), p("logit_head.bias"));
      if (open) evidence = mul(evidence, open);
    }
    return {
      embedding,
      ...logitsOf(mul(evidence, config.logitScale), p(OUTPUT_BIAS), predicted, {
        config,
        rows,
        tokens,
        channel,
        recompute,
      }),
      predicted,
      gaussian: channel && gaussianRows(channel, predicted, rows),
      keysAndValues,
      routers,
    };
  });
}

/**
 * How far x0 is from its posterior mean, the network's input x [T, D] in the Gaussian branch: sqrt(E|x0 - x|^2 / D) [R, 1], and 1 at
 * absorbed positions. null where it is not known. Rows of E have unit mean square, so E|x0 - x|^2 = D - |x|^2; the
 * added 1e-4 keeps the root's gradient finite.
 */
function posteriorDeviation(
  config: ModelConfig,
  { absorbed, shape, active }: RowInputs,
  input: Tensor,
): Tensor | null {
  if (config.embeddingNorm === "none") return null;
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

/** Positions in the Gaussian branch, of the rows that are computed. Of all rows it is the channel's own tensor. */
const gaussianRows = ({ gaussian }: Channel, predicted: Tensor, { active }: RowInputs): Tensor =>
  active ? and(predicted, takeRows(gaussian, active)) : gaussian;

/**
 * own [R, D] times E^T, and what the channel says.
 *
 * With a frozen codebook x C^T + log p stands already, for the posterior mean of the Gaussian rows: logits that begin with the same
 * product of the same rows share it, as equal nodes are merged. The bias less log p is then one more column of E. Absorbed rows have no
 * code, and need no such product. Where probabilities are not kept, nor is that product: it is computed again.
 */
function logitsOf(
  own: Tensor,
  bias: Tensor,
  predicted: Tensor,
  { config, rows, tokens, channel, recompute }: LogitContext,
): Pick<DenoiserOutput, "logits" | "rowLogits"> {
  const everywhere = (logits: Logits): Pick<DenoiserOutput, "logits" | "rowLogits"> => ({
    logits,
    rowLogits: [{ ...logits, rows: predicted, name: "predicted" }],
  });
  const term = { x: own, table: tokens.table };
  if (!channel || config.inputDecoding === "none") return everywhere({ terms: [term], bias });
  const { table } = channel.term;
  const [count, vocabulary] = [own.staticShape[0], bias.staticShape[0]];
  let x = takeRows(channel.term.x, rows.active);
  // One product serves both when the noise acts on the embeddings themselves.
  if (table === tokens.table) return everywhere({ terms: [{ x: add(own, x), table }], bias });
  if (!keepsProbabilities(count, vocabulary, { recompute })) x = after(x, [own]);
  const wide = {
    x: concat([own, constant(new Float32Array(count).fill(1), [count, 1])], 1),
    table: concat([tokens.table, reshape(sub(bias, tokens.prior), [vocabulary, 1])], 1),
  };
  const noisy = { terms: [{ x, table }, wide], bias: tokens.prior };
  const gaussian = gaussianRows(channel, predicted, rows);
  const absorbed = and(predicted, not(gaussian));
  return {
    logits: noisy,
    rowLogits: [
      { ...noisy, rows: gaussian, name: "gaussian" },
      { terms: [term], bias, rows: absorbed, name: "absorbed" },
    ],
  };
}

interface LogitContext {
  readonly config: ModelConfig;
  readonly rows: RowInputs;
  readonly tokens: Embeddings;
  readonly channel: Channel | null;
  readonly recompute: boolean;
}
