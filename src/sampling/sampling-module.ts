/**
 * @file The graph a sampler runs: the denoiser with its rounding as far as it needs no random numbers. Logits stay on the device but
 * for the few rows a token is drawn from, as bringing all of them back would cost as much as the network itself.
 *
 * Inputs beside the denoiser's: ending int64 [B*N], 1 where the text may end; draw int64 [R], flattened positions b*N + p to draw at.
 * Outputs beside x0, embedding and the router's: drawLogits float32 [R, V]; with `guess` also likeliest int64 [B*N] and its
 * probability float32 [B*N]. Forbidden tokens have logits below -1e8.
 */

import { denoisingModule, type ModuleConfig } from "../diffusion/modules.js";
import {
  add,
  constant,
  type GraphModule,
  gather,
  input,
  reshape,
  softmax,
  type Tensor,
  topK,
  withScope,
} from "../graph/index.js";
import type { BatchShape } from "../model/layout.js";

/** Ids never written: inside the text, and in the last gap, where it may end. */
export interface ForbiddenTokens {
  readonly inside: readonly number[];
  readonly ending: readonly number[];
}

const FORBIDDEN = -1e9;

export function samplingModule(
  config: ModuleConfig,
  shape: BatchShape,
  forbidden: ForbiddenTokens,
  guess: boolean,
): GraphModule {
  const { outputs } = denoisingModule(config, shape);
  const { logits, ...others } = outputs;
  const positions = shape.batchSize * shape.length;
  const { vocabSize } = config.model;
  return withScope("rounding", () => {
    const penalties = new Float32Array(2 * vocabSize);
    for (const id of forbidden.inside) penalties[id] = FORBIDDEN;
    for (const id of forbidden.ending) penalties[vocabSize + id] = FORBIDDEN;
    const ending = input("ending", "int64", [positions]);
    const allowed = add(
      reshape(logits, [positions, vocabSize]),
      gather(constant(penalties, [2, vocabSize]), ending),
    );
    const rounded: Record<string, Tensor> = { drawLogits: gather(allowed, input("draw", "int64", [null])) };
    if (guess) {
      const { values, indices } = topK(softmax(allowed), 1);
      rounded.likeliest = reshape(indices, [positions]);
      rounded.probability = reshape(values, [positions]);
    }
    return { name: "sampling", outputs: { ...others, ...rounded } };
  });
}
