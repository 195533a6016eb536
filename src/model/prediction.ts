/**
 * @file From the last hidden state h to x0 and to logits over the vocabulary.
 *
 *   f = W h + b in R^D;  x0_hat = f, or sum_v p(v) c_v
 *   logits = scale * f E^T + (a_t / sigma_t^2) u C^T + bias
 *
 * The second term (with the posterior-mean input) is what the noisy code alone says, so that the network predicts what context adds:
 * at the start of training the prediction is the Bayes decode of the channel. Tied to E (METHOD); C is the codebook the noise acts on.
 *
 * Where x0_hat is the head's own (prediction "embedding") and the network is given the posterior mean x = E[x0 | z], logits have a head
 * g of their own, weighed by d = sqrt(E|x0 - x|^2 / D), the deviation that the channel leaves open:
 *
 *   logits = scale * d g E^T + (a_t / sigma_t^2) u C^T + bias,  g = W' h + b'
 *
 * For f, which is to be all of x0, tells again what the channel told: counted twice, it makes the network worse than no network where
 * the code alone is all but certain.
 */
import type { ModelConfig } from "../config/model-config.js";
import {
  add,
  after,
  and,
  greater,
  keepsProbabilities,
  type LogitTerm,
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
} from "../graph/index.js";
import { type ActiveRows, spreadRows } from "./active-rows.js";
import { type Embeddings, OUTPUT_BIAS } from "./embeddings.js";
import type { Channel } from "./input.js";
import type { RowInputs } from "./layout.js";
import { linearParameters, type ParameterDefinition, type ParameterLookup } from "./parameters.js";

/** The linear layer that logits come from: that of x0_hat, or one of their own beside it. */
export const logitHead = ({ prediction, inputDecoding }: ModelConfig): "output" | "logit_head" =>
  prediction === "embedding" && inputDecoding === "posterior-mean" ? "logit_head" : "output";

export function predictionParameters(config: ModelConfig): ParameterDefinition[] {
  const { hiddenSize, embeddingSize, vocabSize } = config;
  const heads = new Set(["output", logitHead(config)]);
  return [
    ...[...heads].flatMap((name) =>
      linearParameters(name, embeddingSize, hiddenSize, 0.3 / Math.sqrt(hiddenSize)),
    ),
    { name: OUTPUT_BIAS, shape: [vocabSize], trainable: true, init: { kind: "zeros" } },
  ];
}

/** Logits of some rows. */
export interface RowLogits {
  readonly name: "predicted" | "gaussian" | "absorbed";
  readonly terms: readonly LogitTerm[];
  /** bool [T]: which. */
  readonly rows: Tensor;
}

/** At all T = B*N positions; where some rows alone are computed, it means nothing elsewhere. */
export interface Prediction {
  /** The head's own output f, [T, D]: x0_hat where prediction is "embedding". */
  readonly embedding: Tensor;
  /** The logits of any row that is predicted, not yet multiplied out: crossEntropy and tiedLogits take them. */
  readonly logits: readonly LogitTerm[];
  /** The same where they are cheapest: groups of rows that make up all that are predicted. */
  readonly rowLogits: readonly RowLogits[];
  /** bool [T]: the positions that are predicted (see `predictedPositions`); elsewhere the output means nothing. */
  readonly predicted: Tensor;
  /** bool [T]: those of them in the Gaussian branch; null in the masked limit. */
  readonly gaussian: Tensor | null;
}

export interface PredictionContext {
  readonly config: ModelConfig;
  readonly tokens: Embeddings;
  readonly channel: Channel | null;
  /** The rows h has; null: all. */
  readonly active: ActiveRows | null;
  /** What the network was given, [T, D]. */
  readonly input: Tensor;
  /** bool [T], from `predictedPositions`. */
  readonly predicted: Tensor;
  /** Keep nothing of the size of the vocabulary for the backward pass. */
  readonly recompute: boolean;
  readonly parameter: ParameterLookup;
}

/**
 * bool [T]: the positions a prediction is wanted at: all targets, or in the masked limit those that are absorbed, as the others are
 * known. The last layer's experts, the vocabulary and the loss run there alone; for half-masked text that halves their cost.
 * @param active the rows that are computed; null: all
 */
export function predictedPositions(
  { given, absorbed, shape }: RowInputs,
  gaussian: boolean,
  active: ActiveRows | null,
): Tensor {
  const wanted = gaussian ? less(given, 0.5) : greater(absorbed, 0.5);
  const positions = reshape(wanted, [shape.batchSize * shape.length]);
  return active ? and(positions, greater(active.place, 0)) : positions;
}

/** @param h [R, hidden] of the rows it is wanted for, normalised */
export function predict(h: Tensor, context: PredictionContext): Prediction {
  const { config, channel, active, predicted, parameter: p } = context;
  const headOf = (name: string) => spreadRows(linear(h, p(`${name}.weight`), p(`${name}.bias`)), active);
  const gaussian = channel?.gaussian ?? null;
  const embedding = headOf("output");
  let evidence = embedding;
  const head = logitHead(config);
  if (head !== "output") {
    const open = gaussian && posteriorDeviation(gaussian, context);
    evidence = headOf(head);
    if (open) evidence = mul(evidence, open);
  }
  return {
    embedding,
    ...logitsOf(mul(evidence, config.logitScale), p(OUTPUT_BIAS), gaussian, context),
    predicted,
    gaussian,
  };
}

/**
 * How far x0 is from its posterior mean, the network's input x [T, D] in the Gaussian branch: sqrt(E|x0 - x|^2 / D) [T, 1], and 1
 * elsewhere. null where it is not known. Rows of E have unit mean square, so E|x0 - x|^2 = D - |x|^2; the added 1e-4 keeps the root's
 * gradient finite.
 */
function posteriorDeviation(gaussian: Tensor, { config, input: x }: PredictionContext): Tensor | null {
  if (config.embeddingNorm === "none") return null;
  const variance = sub(1 + 1e-4, reduceMean(mul(x, x), [1], true));
  return where(reshape(gaussian, [gaussian.staticShape[0], 1]), sqrt(maximum(variance, 1e-4)), 1);
}

/**
 * own [T, D] times E^T, and what the channel says.
 *
 * With a frozen codebook x C^T + log p stands already, for the posterior mean of the Gaussian rows: logits that begin with the same
 * term of the same rows share its product, as equal nodes are merged. What the bias adds beyond log p comes with the second term.
 * Absorbed rows have no code, and need no such product. Where probabilities are not kept, nor is that product: it is computed again.
 */
function logitsOf(
  own: Tensor,
  bias: Tensor,
  gaussian: Tensor | null,
  { config, tokens, channel, predicted, recompute }: PredictionContext,
): Pick<Prediction, "logits" | "rowLogits"> {
  const everywhere = (logits: readonly LogitTerm[]): ReturnType<typeof logitsOf> => ({
    logits,
    rowLogits: [{ terms: logits, rows: predicted, name: "predicted" }],
  });
  const term = { x: own, table: tokens.table, bias };
  if (!channel || !gaussian || config.inputDecoding === "none") return everywhere([term]);
  const { table, bias: prior } = channel.term;
  let { x } = channel.term;
  // One product serves both when the noise acts on the embeddings themselves.
  if (table === tokens.table) return everywhere([{ ...term, x: add(own, x) }]);
  if (!keepsProbabilities(own.staticShape[0], table.staticShape[0], { recompute })) x = after(x, [own]);
  const noisy = [
    { x, table, bias: prior },
    { ...term, bias: sub(bias, prior) },
  ];
  return {
    logits: noisy,
    rowLogits: [
      { terms: noisy, rows: gaussian, name: "gaussian" },
      { terms: [term], rows: and(predicted, not(gaussian)), name: "absorbed" },
    ],
  };
}
