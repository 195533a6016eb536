/**
 * @file From noisy codes to the first hidden state: what the network is given at each position, a short convolution that tells left from
 * right, and the embeddings of time, of the given/target flag and of the last prediction.
 */
import type { ModelConfig } from "../config/model-config.js";
import {
  add,
  and,
  cast,
  concat,
  constant,
  div,
  equal,
  gather,
  greater,
  greaterOrEqual,
  type LogitTerm,
  layerNorm,
  less,
  linear,
  maximum,
  minimum,
  mul,
  pad,
  posteriorMean,
  reciprocal,
  reshape,
  slice,
  sqrt,
  type Tensor,
  where,
  withScope,
} from "../graph/index.js";
import { takeRows } from "./active-rows.js";
import type { Embeddings } from "./embeddings.js";
import type { RowInputs } from "./layout.js";
import {
  layerNormParameters,
  linearParameters,
  type ParameterDefinition,
  type ParameterLookup,
} from "./parameters.js";
import { timeEmbedding } from "./time.js";

export function inputParameters(config: ModelConfig): ParameterDefinition[] {
  const { embeddingSize, hiddenSize, inputConvolution } = config;
  const taps = inputConvolution * embeddingSize;
  return [
    ...linearParameters("input", hiddenSize, taps, 1 / Math.sqrt((taps + embeddingSize) / 2)),
    { name: "given_embedding", shape: [hiddenSize], trainable: true, init: { kind: "zeros" } },
    ...(config.positionEmbedding === "sinusoidal"
      ? [
          {
            name: "position_scale",
            shape: [hiddenSize],
            trainable: true,
            init: { kind: "constant", value: 0.5 },
          } as const,
        ]
      : []),
    ...(config.selfConditioning
      ? linearParameters("self_condition", hiddenSize, embeddingSize).filter((d) => d.shape.length === 2)
      : []),
    ...(config.normPlacement === "post" ? layerNormParameters("input_norm", hiddenSize) : []),
  ];
}

/** What stands at the target positions that are not absorbed. */
export interface NoisyCodes {
  /** u = a_t x0 + sigma_t eps: [T, D], the code without the pull of m. null in the masked limit. */
  readonly centred: Tensor | null;
  /** Autoregressive: every position is given the token before its own. Default false. */
  readonly previous?: boolean;
}

/** What the noisy codes alone say of all positions. */
export interface Channel {
  /** u [T, D], from NoisyCodes. */
  readonly centred: Tensor;
  /** log p(z, token) up to a constant, as logits: (a_t / sigma_t^2) u [T, D] times C^T, plus log p(token). */
  readonly term: Required<LogitTerm>;
  /** bool [T]: the targets in the Gaussian branch; elsewhere the codes say nothing. */
  readonly gaussian: Tensor;
}

/** null in the masked limit. */
export function channelOf(rows: RowInputs, tokens: Embeddings, { centred }: NoisyCodes): Channel | null {
  if (!centred) return null;
  const positions = rows.shape.batchSize * rows.shape.length;
  return {
    centred,
    term: {
      x: mul(centred, reshape(rows.channel, [positions, 1])),
      table: tokens.codebook,
      bias: tokens.prior,
    },
    gaussian: reshape(less(add(rows.given, rows.absorbed), 0.5), [positions]),
  };
}

/** What the network is given. */
export interface NetworkInput {
  /** At all positions: [T, D]. */
  readonly all: Tensor;
  /** At some: flattened positions int64 [M] -> [M, D]. In the masked limit nothing is computed at the others. */
  at(position: Tensor): Tensor;
}

/**
 * E of the token where it is given (or, in the masked limit, not absorbed), m where absorbed, and in between the posterior mean of E under
 * the channel, or z itself scaled to unit variance. Autoregressive: E of the token before.
 */
export function networkInput(
  config: ModelConfig,
  rows: RowInputs,
  tokens: Embeddings,
  channel: Channel | null,
  previous: boolean,
  options: { readonly recompute?: boolean } = {},
): NetworkInput {
  const { batchSize, length } = rows.shape;
  const positions = batchSize * length;
  const column = (x: Tensor) => reshape(x, [positions, 1]);
  const ids = reshape(rows.ids, [positions]);
  const known = tokens.lookup(ids);
  if (previous)
    return {
      all: previousTokens(known, rows, tokens),
      at: (position) => {
        const { at, same } = beside(rows, position, -1);
        return where(
          reshape(same, [same.staticShape[0], 1]),
          tokens.lookup(gather(ids, at)),
          tokens.absorbing,
        );
      },
    };
  const absorbed = greater(column(rows.absorbed), 0.5);
  if (!channel)
    return {
      all: where(absorbed, tokens.absorbing, known),
      at: (position) =>
        where(gather(absorbed, position), tokens.absorbing, tokens.lookup(gather(ids, position))),
    };
  const given = greater(column(rows.given), 0.5);
  const noisy =
    config.inputDecoding === "posterior-mean"
      ? posteriorMean(channel.term, tokens.table, channel.gaussian, options)
      : scaledState(rows, tokens, channel.centred, column);
  const all = where(given, known, where(absorbed, tokens.absorbing, noisy));
  return { all, at: (position) => gather(all, position) };
}

/** z = u + (1 - a) m over sqrt(a^2 + sigma^2), the deviation it has for codes of unit variance. */
function scaledState(
  rows: RowInputs,
  tokens: Embeddings,
  centred: Tensor,
  column: (x: Tensor) => Tensor,
): Tensor {
  const signal = column(rows.signal);
  const sigma = column(rows.sigma);
  const z = add(centred, mul(add(mul(signal, -1), 1), tokens.absorbing));
  return mul(z, reciprocal(sqrt(add(add(mul(signal, signal), mul(sigma, sigma)), 1e-6))));
}

/** What stands `by` positions to the right (left when negative), |by| < length: x [B, N, D], zeros beyond the row. */
function shifted(x: Tensor, by: number, length: number): Tensor {
  const kept = slice(x, 1, Math.max(0, by), length + Math.min(0, by));
  return pad(kept, 1, Math.max(0, -by), Math.max(0, by));
}

/** bool [B, N]: whether that position is of the same document. */
function sameDocument({ shape: { batchSize, length }, layout: { segment } }: RowInputs, by: number): Tensor {
  const beyond = [batchSize, Math.abs(by)];
  const outside = constant(new Array<number>(batchSize * Math.abs(by)).fill(-2), beyond, "int64");
  const kept = slice(segment, 1, Math.max(0, by), length + Math.min(0, by));
  return equal(segment, concat(by > 0 ? [kept, outside] : [outside, kept], 1));
}

/** E of the token before [T, D]; m where a document begins. */
function previousTokens(known: Tensor, rows: RowInputs, tokens: Embeddings): Tensor {
  const { batchSize, length } = rows.shape;
  const before = shifted(reshape(known, [batchSize, length, known.staticShape[1]]), -1, length);
  const inside = reshape(sameDocument(rows, -1), [batchSize * length, 1]);
  return where(inside, reshape(before, known.staticShape), tokens.absorbing);
}

/** The positions `by` to the right of some (left when negative): int64 [M] -> int64 [M], and bool [M], whether they are of the same document. */
function beside({ shape, layout }: RowInputs, position: Tensor, by: number): { at: Tensor; same: Tensor } {
  const positions = shape.batchSize * shape.length;
  const segment = reshape(layout.segment, [positions]);
  const start = mul(div(position, shape.length), shape.length);
  const wanted = add(position, by);
  const inside = by < 0 ? greaterOrEqual(wanted, start) : less(wanted, add(start, shape.length));
  const at = by < 0 ? maximum(wanted, 0) : minimum(wanted, positions - 1);
  return { at, same: and(inside, equal(gather(segment, position), gather(segment, at))) };
}

/**
 * What the network is given at the rows that are computed and at their neighbours inside the document, to both sides or (causal) to the
 * left: [R, taps * D]; zeros beyond.
 */
function neighbours(x: NetworkInput, taps: number, causal: boolean, inputs: RowInputs): Tensor {
  const { active } = inputs;
  const { batchSize, length } = inputs.shape;
  const width = x.all.staticShape[1];
  const rows = reshape(x.all, [batchSize, length, width]);
  const parts = Array.from({ length: taps }, (_, tap) => {
    const by = tap - (causal ? taps - 1 : (taps - 1) / 2);
    if (active) {
      if (by === 0) return x.at(active.row);
      const { at, same } = beside(inputs, active.row, by);
      return mul(x.at(at), cast(reshape(same, [active.count, 1]), "float32"));
    }
    if (by === 0) return rows;
    if (Math.abs(by) >= length) return mul(rows, 0);
    const same = reshape(cast(sameDocument(inputs, by), "float32"), [batchSize, length, 1]);
    return mul(shifted(rows, by, length), same);
  });
  return active ? concat(parts, 1) : reshape(concat(parts, 2), [batchSize * length, taps * width]);
}

/** Sinusoids of the position in the document (Transformer, arXiv 1706.03762): sin and cos of p * 10000^(-2j/H). -> [T, hidden] */
function sinusoids(position: Tensor, length: number, hiddenSize: number): Tensor {
  const half = Math.ceil(hiddenSize / 2);
  const table = new Float32Array(length * hiddenSize);
  for (let p = 0; p < length; p++)
    for (let j = 0; j < hiddenSize; j++) {
      const angle = p * 10000 ** (-(j % half) / half);
      table[p * hiddenSize + j] = j < half ? Math.sin(angle) : Math.cos(angle);
    }
  return gather(constant(table, [length, hiddenSize]), position);
}

/** The first hidden state of the rows that are computed, [R, hidden]. `selfCondition`: the head's last output f [T, D] (zeros: none yet). */
export function inputLayer(
  config: ModelConfig,
  rows: RowInputs,
  x: NetworkInput,
  selfCondition: Tensor | null,
  p: ParameterLookup,
): Tensor {
  const { batchSize, length } = rows.shape;
  const { hiddenSize, inputConvolution } = config;
  const { active } = rows;
  const positions = batchSize * length;
  return withScope("input", () => {
    const around = neighbours(x, inputConvolution, config.attention.causal, rows);
    let h = linear(around, p("input.weight"), p("input.bias"));
    h = add(h, mul(takeRows(reshape(rows.given, [positions, 1]), active), p("given_embedding")));
    if (config.positionEmbedding === "sinusoidal")
      h = add(
        h,
        mul(
          sinusoids(takeRows(reshape(rows.position, [positions]), active), length, hiddenSize),
          p("position_scale"),
        ),
      );
    if (selfCondition) h = add(h, linear(takeRows(selfCondition, active), p("self_condition.weight")));
    if (config.timeConditioning) {
      const time = timeEmbedding(rows.time, config, p);
      if (active) h = add(h, gather(time, active.sequence));
      else {
        const byRow = reshape(time, [batchSize, 1, hiddenSize]);
        h = reshape(add(reshape(h, [batchSize, length, hiddenSize]), byRow), [positions, hiddenSize]);
      }
    }
    return config.normPlacement === "post"
      ? layerNorm(h, p("input_norm.weight"), p("input_norm.bias"), config.normEpsilon)
      : h;
  });
}
