/**
 * @file The timestep embedding: sinusoids of 1000 t through a small network (DDPM, arXiv 2006.11239).
 *
 *   e_j = sin(1000 t w_j), e_{j + H/2} = cos(1000 t w_j), w_j = 10000^(-2j/H);  output = W2 act(W1 e + b1) + b2
 */
import type { ModelConfig } from "../config/model-config.js";
import {
  activation,
  concat,
  constant,
  cos,
  linear,
  mul,
  reshape,
  sin,
  type Tensor,
  withScope,
} from "../graph/index.js";
import { linearParameters, type ParameterDefinition, type ParameterLookup } from "./parameters.js";

export const timeParameters = ({ hiddenSize, timeConditioning }: ModelConfig): ParameterDefinition[] =>
  timeConditioning
    ? [
        ...linearParameters("time.0", hiddenSize, hiddenSize),
        ...linearParameters("time.1", hiddenSize, hiddenSize, 0.5 / Math.sqrt(hiddenSize)),
      ]
    : [];

/** time float32 [B] in [0, 1] -> [B, hidden]. */
export function timeEmbedding(
  time: Tensor,
  { hiddenSize, activation: name }: ModelConfig,
  p: ParameterLookup,
): Tensor {
  return withScope("time", () => {
    const half = Math.ceil(hiddenSize / 2);
    const frequencies = Array.from({ length: half }, (_, j) => 1000 * 10000 ** (-j / half));
    const angles = mul(reshape(time, [time.staticShape[0], 1]), constant(frequencies, [1, half]));
    const sinusoids = concat([sin(angles), cos(angles)], 1);
    const hidden = activation(name, linear(sinusoids, p("time.0.weight"), p("time.0.bias")));
    return linear(hidden, p("time.1.weight"), p("time.1.bias"));
  });
}
