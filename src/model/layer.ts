/**
 * @file One transformer layer: attention, then feed-forward (dense or experts), each behind a residual sum.
 *
 *   pre-norm:  h + f(LN(h))        post-norm (the paper, BERT): LN(h + f(h))
 */
import type { ModelConfig } from "../config/model-config.js";
import {
  add,
  concat,
  layerNorm,
  linear,
  mul,
  reshape,
  rotary,
  slice,
  type Tensor,
  withScope,
} from "../graph/index.js";
import { type ActiveRows, type KeysAndValues, takeComputed, takeRows } from "./active-rows.js";
import { type CachedKeys, cachedAttention, keyTable } from "./attention/cached.js";
import { attention, type MaskCache } from "./attention/operator.js";
import { headGroups, layerPattern } from "./attention/pattern.js";
import { type FeedForwardResult, feedForward, feedForwardParameters } from "./experts/feed-forward.js";
import type { RowInputs } from "./layout.js";
import {
  layerNormParameters,
  linearParameters,
  type ParameterDefinition,
  type ParameterLookup,
} from "./parameters.js";

const projections = ["query", "key", "value"] as const;

export function layerParameters(config: ModelConfig, layer: number): ParameterDefinition[] {
  const { hiddenSize, numLayers } = config;
  const prefix = `layers.${layer}`;
  return [
    ...layerNormParameters(`${prefix}.attention_norm`, hiddenSize),
    ...projections.flatMap((name) => linearParameters(`${prefix}.attention.${name}`, hiddenSize, hiddenSize)),
    // Residual outputs start small, so that a deep model starts near the identity.
    ...linearParameters(
      `${prefix}.attention.output`,
      hiddenSize,
      hiddenSize,
      1 / Math.sqrt(2 * numLayers * hiddenSize),
    ),
    ...layerNormParameters(`${prefix}.feed_forward_norm`, hiddenSize),
    ...feedForwardParameters(config, prefix),
  ];
}

/** Multiplies by a dropout mask that is fed (0 or 1 / (1 - rate)), or does nothing. */
export type Dropout = (site: string, x: Tensor) => Tensor;

/** What all layers share. */
export interface LayerContext {
  readonly config: ModelConfig;
  readonly rows: RowInputs;
  readonly masks: MaskCache;
  /** What the queries see where they are those of some rows; null: of all. */
  readonly cached: CachedKeys | null;
  /** Keys and values of a layer that an earlier run has left, where active rows alone are computed. */
  readonly held: (layer: number) => KeysAndValues;
  /** The rows a layer is computed for, of those that have keys and values; null: all R of them. */
  readonly drawn: ActiveRows | null;
  /** bool [R] (of the drawn rows): the tokens that experts see: not padding; in the last layer those that are predicted. */
  readonly routed: Tensor;
  readonly dropout: Dropout;
  readonly parameter: ParameterLookup;
}

function attentionBlock(
  x: Tensor,
  layer: number,
  { config, rows, masks, cached, held, drawn, parameter: p }: LayerContext,
): { output: Tensor; keysAndValues: KeysAndValues } {
  const { batchSize, length } = rows.shape;
  const { hiddenSize, numHeads, ropeTheta } = config;
  const headSize = hiddenSize / numHeads;
  const prefix = `layers.${layer}.attention`;
  const project = (name: string, input: Tensor) =>
    linear(input, p(`${prefix}.${name}.weight`), p(`${prefix}.${name}.bias`));
  const turn = (t: Tensor, some: ActiveRows | null) => {
    // The kernel turns no more positions in a row than it has angles for: some rows come one by one.
    const grid = some ? [some.count, 1] : [batchSize, length];
    const position = some ? takeRows(reshape(rows.position, [batchSize * length, 1]), some) : rows.position;
    const turned = rotary(reshape(t, [...grid, hiddenSize]), position, {
      headSize,
      theta: ropeTheta,
      maxPosition: length,
    });
    return reshape(turned, t.shape);
  };
  const asking = drawn ? takeComputed(x, drawn, rows.active) : x;
  const q = turn(project("query", asking), drawn ?? rows.active);
  const [k, v] = [turn(project("key", x), rows.active), project("value", x)];
  const keysAndValues = { key: k, value: v };
  const table = rows.active ? keyTable(held(layer), keysAndValues) : keysAndValues;
  const groups = headGroups(layerPattern(config.attention, layer, numHeads)).map((group) => {
    const { pattern, start, count } = group;
    const part = (t: Tensor) => slice(t, 1, start * headSize, (start + count) * headSize);
    if (cached) return cachedAttention(part(q), table, group, cached);
    return attention(part(q), part(k), part(v), { heads: count, pattern, masks });
  });
  return { output: project("output", concat(groups, 1)), keysAndValues };
}

/** The rows that are computed, as sequences of equal length; active ones come as one. */
const computedGrid = ({ shape }: RowInputs, some: ActiveRows | null): [number, number] =>
  some ? [1, some.count] : [shape.batchSize, shape.length];

/**
 * h [R, hidden] -> [R, hidden], or of the drawn rows alone, with the router's losses and statistics when the layer has experts, and the
 * keys and values [R, hidden] of its attention.
 */
export function transformerLayer(
  h: Tensor,
  layer: number,
  context: LayerContext,
): { output: Tensor; feedForward: FeedForwardResult; keysAndValues: KeysAndValues } {
  const { config, rows, drawn, dropout, parameter: p, routed } = context;
  const { active } = rows;
  const norm = (name: string, x: Tensor) =>
    layerNorm(x, p(`layers.${layer}.${name}.weight`), p(`layers.${layer}.${name}.bias`), config.normEpsilon);
  const residual = (name: string, x: Tensor, block: (input: Tensor) => Tensor, own = x): Tensor =>
    config.normPlacement === "pre" ? add(own, block(norm(name, x))) : norm(name, add(own, block(x)));
  return withScope(`layers.${layer}`, () => {
    let keysAndValues: KeysAndValues | undefined;
    const attended = withScope("attention", () =>
      residual(
        "attention_norm",
        h,
        (x) => {
          const block = attentionBlock(x, layer, context);
          keysAndValues = block.keysAndValues;
          return dropout(`layers.${layer}.attention`, block.output);
        },
        drawn ? takeComputed(h, drawn, active) : h,
      ),
    );
    const [sequences, length] = computedGrid(rows, drawn ?? active);
    let inner: FeedForwardResult | undefined;
    const output = withScope("feed_forward", () =>
      residual("feed_forward_norm", attended, (x) => {
        inner = feedForward(x, p, config, `layers.${layer}`, {
          sequences,
          length,
          valid: routed,
        });
        return dropout(`layers.${layer}.feed_forward`, inner.output);
      }),
    );
    return { output, feedForward: inner!, keysAndValues: keysAndValues! };
  });
}

/** The identity: evaluation, or a rate of 0. */
export const noDropout: Dropout = (_site, x) => x;
/** A dropout by masks, whatever its rate. `mask`: that of a site, of the shape of what it is laid over; who builds the graph feeds it. */
export const fedDropout =
  (mask: (site: string, like: Tensor) => Tensor): Dropout =>
  (site, x) =>
    mul(x, mask(site, x));
