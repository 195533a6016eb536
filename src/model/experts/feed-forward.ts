/**
 * @file The feed-forward half of a layer: one dense block, or a router with its experts and an optional expert that all tokens share.
 *
 *     dense:    W2 act(W1 x + b1) + b2
 *     experts:  sum_k gate_k FFN_{e_k}(x)  [+ FFN_shared(x)],   router logits = W_r x
 *
 * `feedForwardParameters` lists what `feedForward` will ask for, under the same names.
 */
import {
  type Activation,
  activation,
  add,
  linear,
  showShape,
  type Tensor,
  withScope,
} from "../../graph/index.js";
import { linearParameters, type ParameterDefinition, type ParameterLookup } from "../parameters.js";
import { type ExpertWeights, runExperts } from "./experts.js";
import { type RouterKind, routeTokens } from "./router.js";
import { type RouterLosses, type RouterStatistics, routerLosses } from "./router-losses.js";

/** The fields of the model configuration that matter here. */
export interface FeedForwardConfig {
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly activation: Activation;
  /** Hidden width of the dense block. */
  readonly feedForwardSize: number;
  readonly experts: {
    /** 0 or 1: dense. */
    readonly numExperts: number;
    readonly topK: number;
    /** Hidden width F of one expert. */
    readonly intermediateSize: number;
    readonly router: RouterKind;
    readonly topP: number;
    /** Hidden width of the shared expert; 0: none. */
    readonly sharedExpertSize: number;
    /** "loss-free" adds a selection bias, which `updatedSelectionBias` moves after every step. */
    readonly balance: "loss-free" | "loss" | "none";
    readonly capacityFactor: number | null;
  };
}

/** The tokens of a batch: B sequences of length N in row order, and which of them experts see. */
export interface TokenLayout {
  readonly sequences: number;
  readonly length: number;
  /** float32 or bool [B * N], 0 on padding; in the last layer 0 also where nothing is predicted. */
  readonly valid: Tensor;
}

export interface FeedForwardResult {
  /** float32 [T, D]; padding gets what the dense parts give it, and nothing from routed experts. */
  readonly output: Tensor;
  /** `null` in a dense layer. */
  readonly losses: RouterLosses | null;
  readonly statistics: RouterStatistics | null;
}

const isSparse = ({ experts }: FeedForwardConfig): boolean => experts.numExperts > 1;

/** Expert choice is balanced by construction, so it takes no bias. */
const hasSelectionBias = ({ experts }: FeedForwardConfig): boolean =>
  experts.balance === "loss-free" && experts.router !== "expert-choice";

/** Name of the buffer that the loss-free update moves, or `null` when this configuration has none. */
export const selectionBiasName = (config: FeedForwardConfig, prefix: string): string | null =>
  isSparse(config) && hasSelectionBias(config) ? `${prefix}.router.selection_bias` : null;

/** Parameters of one layer's feed-forward half; `prefix` is the layer's name ("layers.3"). */
export function feedForwardParameters(config: FeedForwardConfig, prefix: string): ParameterDefinition[] {
  const { hiddenSize, numLayers, feedForwardSize, experts } = config;
  const block = (name: string, inner: number): ParameterDefinition[] => [
    ...linearParameters(`${name}.w1`, inner, hiddenSize),
    // A residual output: 1.4/sqrt(in) undoes the activation's loss of scale, 1/sqrt(2L) keeps the sum over all blocks in bounds.
    ...linearParameters(`${name}.w2`, hiddenSize, inner, 1.4 / Math.sqrt(inner) / Math.sqrt(2 * numLayers)),
  ];
  if (!isSparse(config)) return block(`${prefix}.mlp`, feedForwardSize);
  const { numExperts, intermediateSize, sharedExpertSize } = experts;
  const bias = selectionBiasName(config, prefix);
  return [
    {
      name: `${prefix}.router.weight`,
      shape: [numExperts, hiddenSize],
      trainable: true,
      init: { kind: "normal", std: 0.5 / Math.sqrt(hiddenSize) },
    },
    ...(bias
      ? [
          {
            name: bias,
            shape: [1, numExperts],
            trainable: false,
            averaged: true, // the averaged router wants the biases of its own time
            init: { kind: "zeros" as const },
          },
        ]
      : []),
    ...Array.from({ length: numExperts }, (_, e) => block(`${prefix}.experts.${e}`, intermediateSize)).flat(),
    ...(sharedExpertSize > 0 ? block(`${prefix}.shared_expert`, sharedExpertSize) : []),
  ];
}

/**
 * Builds the feed-forward half of one layer.
 * @param x float32 [T, D], T = sequences * length
 * @param parameters finds a parameter by the name it has in `feedForwardParameters`
 * @param prefix the layer's name, as there
 */
export function feedForward(
  x: Tensor,
  parameters: ParameterLookup,
  config: FeedForwardConfig,
  prefix: string,
  layout: TokenLayout,
): FeedForwardResult {
  const { sequences, length } = layout;
  if (x.rank !== 2 || x.shape[0] !== sequences * length)
    throw new Error(`feed-forward: expected x [${sequences} x ${length}, D], got ${showShape(x.shape)}`);
  const weights = (name: string): ExpertWeights => ({
    w1: parameters(`${prefix}.${name}.w1.weight`),
    b1: parameters(`${prefix}.${name}.w1.bias`),
    w2: parameters(`${prefix}.${name}.w2.weight`),
    b2: parameters(`${prefix}.${name}.w2.bias`),
  });
  const dense = (name: string): Tensor =>
    withScope(name, () => {
      const { w1, b1, w2, b2 } = weights(name);
      return linear(activation(config.activation, linear(x, w1, b1)), w2, b2);
    });
  if (!isSparse(config)) return { output: dense("mlp"), losses: null, statistics: null };

  const { numExperts, sharedExpertSize, router, topK, topP, capacityFactor } = config.experts;
  const bias = selectionBiasName(config, prefix);
  const logits = withScope("router", () => linear(x, parameters(`${prefix}.router.weight`)));
  const routing = routeTokens(logits, {
    router,
    topK,
    topP,
    capacityFactor,
    ...layout,
    selectionBias: bias ? parameters(bias) : null,
  });
  const routed = withScope("experts", () =>
    runExperts(
      x,
      routing.experts,
      routing.gates,
      Array.from({ length: numExperts }, (_, e) => weights(`experts.${e}`)),
      config.activation,
      // Expert choice lists all experts of every token, and takes as many as the others.
      { expected: sequences * length * topK },
    ),
  );
  const output = sharedExpertSize > 0 ? add(routed, dense("shared_expert")) : routed;
  return { output, ...routerLosses(logits, routing, layout) };
}
