/**
 * @file What the model itself thinks of texts it has written, given their conditions, in nats a token; lower is better. K levels
 * t_k, the same noise for every text:
 *
 *     masked limit         c + 1/n * 1/K sum_k w(t_k) sum over absorbed i of (nll_i - c),   c = mean nll of the absorbed positions
 *     Gaussian processes   1/n * 1/K sum_k sum over all i of nll_i
 *
 * The first estimates the bound on -log p(text | condition): how many positions a draw absorbs is chance, and with the control variate c
 * it weighs nothing (evaluation takes unigrams for it, which want the training texts' counts). The second is no bound: it is the
 * denoising cross entropy, and much of it the codes alone would say. Neither knows guidance or an earlier prediction.
 *
 * n: positions that were written, up to the [SEP] that ends the text; what stands behind it is cut off as if the text had been one of
 * that length. The noise belongs to (seed, draw, position) alone: a score does not depend on other texts or the batch.
 */
import type { Row } from "../data/rows.js";
import {
  boundWeight,
  corruptRows,
  createTimeSampler,
  DiffusionProcess,
  forEachTarget,
  levelsOfDraw,
  padRows,
} from "../diffusion/index.js";
import { CounterRandom } from "../random/index.js";
import type { Canvas } from "./canvas.js";
import type { DiffusionModel } from "./model.js";
import type { BatchShape } from "./sample-batch.js";

/** K. */
export const SCORE_DRAWS = 8;

/** A canvas that is full: ids int32 [n], a token at every position. */
export interface WrittenCanvas {
  readonly canvas: Canvas;
  readonly ids: Int32Array;
}

export interface ScoreOptions {
  readonly seed: number;
  /** Rows and positions of the program that computes them, at least as many as there are. */
  readonly shape: BatchShape;
  readonly signal?: AbortSignal;
}

/** Nats a token of each text; Infinity where no draw absorbed anything, so that nothing is known. */
export async function scoreTexts(
  model: DiffusionModel,
  texts: readonly WrittenCanvas[],
  { seed, shape: { batchSize, length }, signal }: ScoreOptions,
): Promise<number[]> {
  const { config, tokenizer, globalSlots } = model;
  const { diffusion } = config;
  const masked = !diffusion.gaussian;
  const process = new DiffusionProcess(diffusion);
  const random = new CounterRandom(seed);
  const times = createTimeSampler({ timeSampler: "low-discrepancy", minTime: diffusion.minTime }, random);
  const rows = texts.map((text) => writtenRow(text, tokenizer.special.sep));
  const padded = padRows(rows, length, batchSize, tokenizer.special.pad);
  const sums = rows.map(() => ({ targets: 0, weighted: 0, weights: 0, nll: 0, scored: 0 }));
  const program = await model.loss(batchSize, length);
  try {
    // An autoregressive model has one value, whatever the draw.
    const draws = diffusion.objective === "next-token" ? 1 : SCORE_DRAWS;
    for (let draw = 0; draw < draws; draw++) {
      signal?.throwIfAborted();
      const feeds = corruptRows(padded, config, random, {
        conditionDropout: 0,
        maxGlobals: globalSlots,
        // Step 0 is where samples start from.
        step: draw + 1,
        timeSampler: levelsOfDraw(times, diffusion.minTime, draw, draws),
      });
      if (config.model.selfConditioning) {
        const shape = [batchSize, length, config.model.embeddingSize];
        const data = new Float32Array(batchSize * length * config.model.embeddingSize);
        feeds.selfCondition = { dtype: "float32", shape, data };
      }
      const nll = (await model.run(program, feeds)).nll.data as Float32Array;
      const weight = masked ? boundWeight(diffusion, process, Number(feeds.time.data[0])) : 1;
      forEachTarget({ rows, feeds }, (b, _position, at, absorbed) => {
        const sum = sums[b];
        sum.targets++;
        if (masked && !absorbed) return;
        sum.weighted += weight * nll[at];
        sum.weights += weight;
        sum.nll += nll[at];
        sum.scored++;
      });
    }
  } finally {
    await program.release();
  }
  // Targets were counted in every draw, so sums over draws and positions divided by them are means over both.
  return sums.map(({ targets, weighted, weights, nll, scored }) => {
    if (scored === 0) return Number.POSITIVE_INFINITY;
    const level = nll / scored;
    return level + (weighted - level * weights) / targets;
  });
}

/** The row of a written text, cut behind the [SEP] that ends it. Every text has the number 0, so all meet the same noise. */
function writtenRow({ canvas, ids }: WrittenCanvas, separator: number): Row {
  const { row, endFrom } = canvas;
  const end = ids.indexOf(separator, endFrom);
  const length = end < 0 ? ids.length : end + 1;
  return {
    sequence: 0,
    ids: ids.slice(0, length),
    given: row.given.subarray(0, length),
    segment: row.segment.subarray(0, length),
    position: row.position.subarray(0, length),
    globals: row.globals,
  };
}
