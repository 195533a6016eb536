/**
 * @file Token embeddings, the codebook the noise acts on, the learned global tokens and the absorbing state.
 *
 * The network reads and predicts tokens through the embedding table E (rows of unit root mean square when embeddingNorm is "rms").
 * The noise acts on the codebook: E itself, or a frozen random table (a buffer), whose vectors cannot move together or apart while the
 * network learns to tell them apart.
 */
import type { ModelConfig } from "../config/model-config.js";
import {
  add,
  concat,
  gather,
  minimum,
  mul,
  reduceMean,
  reshape,
  rmsNorm,
  sqrt,
  type Tensor,
  zeros,
} from "../graph/index.js";
import type { ParameterDefinition, ParameterLookup } from "./parameters.js";

export const EMBEDDINGS = "embeddings.weight";
/** Buffers filled from the data before training: log of the smoothed unigram frequencies [V]. */
export const LOG_UNIGRAM = "log_unigram";
export const CODEBOOK = "codebook.weight";
export const OUTPUT_BIAS = "output_bias";

export function embeddingParameters(config: ModelConfig): ParameterDefinition[] {
  const { vocabSize, embeddingSize } = config;
  const table = (name: string, rows: number, std: number, trainable = true): ParameterDefinition => ({
    name,
    shape: [rows, embeddingSize],
    trainable,
    init: { kind: "normal", std },
  });
  const { globalTokens } = config.attention;
  return [
    table(EMBEDDINGS, vocabSize, config.embeddingInitScale),
    ...(globalTokens > 0 ? [table("global_tokens.weight", globalTokens, 1)] : []),
    ...(config.codebook === "fixed" ? [table(CODEBOOK, vocabSize, 1, false)] : []),
    ...(config.absorbingState === "learned"
      ? [
          {
            name: "absorbing_state",
            shape: [embeddingSize],
            trainable: true,
            init: { kind: "normal", std: 1 },
          } as const,
        ]
      : []),
    { name: LOG_UNIGRAM, shape: [vocabSize], trainable: false, init: { kind: "zeros" } },
  ];
}

export interface Embeddings {
  /** E: [V, D], what the network reads and predicts. */
  readonly table: Tensor;
  /** What the noise acts on: [V, D]. */
  readonly codebook: Tensor;
  /** m: [1, D]. */
  readonly absorbing: Tensor;
  /** log p(token) [V]. */
  readonly prior: Tensor;
  /** Rows of E by token id, learned global tokens included: ids int64 [T] -> [T, D]. */
  lookup(ids: Tensor): Tensor;
  /** Rows of the codebook: ids int64 [T] -> [T, D]; global tokens (never targets) yield the last row. */
  encode(ids: Tensor): Tensor;
}

export function embeddings(config: ModelConfig, p: ParameterLookup): Embeddings {
  const { vocabSize, embeddingSize } = config;
  const raw = p(EMBEDDINGS);
  const unit = (x: Tensor) => (config.embeddingNorm === "rms" ? rmsNorm(x) : x);
  const table = unit(raw);
  const codebook = config.codebook === "fixed" ? rmsNorm(p(CODEBOOK)) : table;
  const extended = config.attention.globalTokens > 0 ? concat([table, p("global_tokens.weight")], 0) : table;
  const absorbing =
    config.absorbingState === "learned"
      ? reshape(p("absorbing_state"), [1, embeddingSize])
      : zeros([1, embeddingSize]);
  return {
    table,
    codebook,
    absorbing,
    prior: p(LOG_UNIGRAM),
    lookup: (ids) => gather(extended, ids),
    encode: (ids) => gather(codebook, config.attention.globalTokens > 0 ? minimum(ids, vocabSize - 1) : ids),
  };
}

/** |m|, as root mean square over D (1e-12 under the root keeps the gradient finite at m = 0): scalar. */
export const absorbingNorm = ({ absorbing }: Embeddings): Tensor =>
  sqrt(add(reduceMean(mul(absorbing, absorbing), [0, 1]), 1e-12));
