/**
 * @file The graph a sampler runs: the denoiser with its rounding as far as it needs no random numbers. Products over the vocabulary are
 * computed where they are wanted, and logits stay on the device but for the few rows a token is drawn from: all of them would cost as
 * much as the network itself.
 *
 * Inputs beside the denoiser's: ending int64 [B*N], 1 where the text may end; draw int64 [R], flattened positions b*N + p to draw at.
 * Outputs beside the router's and `embedding`: drawLogits float32 [R, V]; x0 float32 [B, N, D] for Gaussian processes, at targets that
 * are not absorbed (elsewhere 0, or what the head says); with `guess` also likeliest int64 [B*N] and its probability float32 [B*N] at
 * predicted positions (elsewhere 0). Forbidden tokens have logits below -1e8.
 *
 * Guided (guidance.ts), the denoiser has 2 B rows: B of samples and B twins without condition. Input guidance float32 [1]; the outputs
 * above have B rows and say what both come to, but for `embedding` and the router's, which every row has of its own.
 */

import { denoisingGraph, type ModuleConfig } from "../diffusion/modules.js";
import {
  add,
  argMax,
  cast,
  chunkTerms,
  constant,
  type GraphModule,
  gather,
  input,
  type LogitTerm,
  matmul,
  reduceMax,
  reshape,
  rowChunks,
  softmax,
  type Tensor,
  tiedLogits,
  withScope,
} from "../graph/index.js";
import type { BatchShape } from "../model/layout.js";
import { guidedRows, unguidedRows } from "./guidance.js";

/** Ids never written: inside the text, and in the last gap, where it may end. */
export interface ForbiddenTokens {
  readonly inside: readonly number[];
  readonly ending: readonly number[];
}

const FORBIDDEN = -1e9;

/** @param shape of the samples: B rows @param guess whether the likeliest tokens are wanted @param guided whether every row has a twin */
export function samplingModule(
  config: ModuleConfig,
  shape: BatchShape,
  forbidden: ForbiddenTokens,
  guess: boolean,
  guided = false,
): GraphModule {
  const { model } = config;
  const network = guided ? { ...shape, batchSize: 2 * shape.batchSize } : shape;
  const { logitTerms, bias, tokens, moving, predicted, embedding, outputs } = denoisingGraph(config, network);
  const positions = shape.batchSize * shape.length;
  return withScope("rounding", () => {
    const { sides, combine } = guided ? guidedRows() : unguidedRows;
    const own = (x: Tensor) => sides(x)[0];
    const sideTerms = sides(logitTerms[0].x).map((_, side) =>
      logitTerms.map(({ x, table }) => ({ x: sides(x)[side], table })),
    );
    const combinedTerms = logitTerms.map(({ x, table }) => ({ x: combine(sides(x)), table }));
    const penalties = new Float32Array(2 * model.vocabSize);
    for (const id of forbidden.inside) penalties[id] = FORBIDDEN;
    for (const id of forbidden.ending) penalties[model.vocabSize + id] = FORBIDDEN;
    const penaltyTable = constant(penalties, [2, model.vocabSize]);
    const ending = input("ending", "int64", [positions]);
    const allowed = (terms: readonly LogitTerm[], ends: Tensor) =>
      add(tiedLogits(terms, bias), gather(penaltyTable, ends));

    const draw = input("draw", "int64", [null]);
    const drawn = combinedTerms.map(({ x, table }) => ({ x: gather(x, draw), table }));
    const rounded: Record<string, Tensor> = { ...outputs, drawLogits: allowed(drawn, gather(ending, draw)) };

    const averages = moving !== null && model.prediction === "mixture";
    if (guess || averages) {
      const chunks = rowChunks(positions, own(guess ? predicted : moving!));
      const ends = chunks.take(ending);
      const probabilities = (of: readonly LogitTerm[]) =>
        chunkTerms(of, chunks).map((terms, i) => softmax(allowed(terms, ends[i])));
      const combined = guess || !guided ? probabilities(combinedTerms) : [];
      if (averages) {
        const bySide = guided ? sideTerms.map(probabilities) : [combined];
        const means = bySide.map((parts) => chunks.put(parts.map((p) => matmul(p, tokens.codebook))));
        rounded.x0 = combine(means);
      }
      if (guess) {
        const parts = combined;
        const column = (pick: (p: Tensor) => Tensor) =>
          reshape(chunks.put(parts.map((p) => reshape(pick(p), [null, 1]))), [positions]);
        rounded.likeliest = cast(
          column((p) => cast(argMax(p), "float32")),
          "int64",
        );
        rounded.probability = column((p) => reduceMax(p, [-1]));
      }
    }
    if (moving) {
      const wide = [shape.batchSize, shape.length, model.embeddingSize];
      rounded.x0 = reshape(rounded.x0 ?? combine(sides(embedding)), wide);
    }
    return { name: "sampling", outputs: rounded };
  });
}
