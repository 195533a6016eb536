/** @file What the rows of a training step add up to: losses, expert loads, and what a loss-aware time sampler hears. */
import type { Row } from "../data/index.js";
import { lossTerms } from "../diffusion/modules.js";
import { type Communicator, sumOverRanks } from "../distributed/index.js";
import type { TensorData } from "../graph/index.js";
import type { RowShare } from "./row-share.js";

/** Rows that one run of the training graph takes. */
export interface MicroBatch {
  readonly rows: readonly Row[];
  readonly feeds: Record<string, TensorData>;
  /** t of each row [B], and the share of its row that each position counts [B * N]: kept, as the feeds are handed over. */
  readonly times: number[];
  readonly targets: Float32Array;
}

/** What the rows of a step add up to, over all ranks. */
export interface StepSums {
  readonly loss: Float64Array;
  readonly terms: Float64Array;
  /** [L] */
  readonly entropy: Float64Array;
  /** [L * E] */
  readonly loads: Float64Array;
  /** t of every row and its loss before the importance of t, in order of sequence; [] unless the time sampler wants them. */
  readonly times: Float64Array;
  readonly losses: Float64Array;
}

/**
 * Adds up a step. Collective.
 *
 * @param outputs the training program's, one a micro-batch
 * @param wantsLosses whether `times` and `losses` are wanted, which takes outputs of a module for a loss-aware sampler
 */
export function sumOfStep(
  batches: readonly MicroBatch[],
  outputs: readonly Record<string, TensorData>[],
  share: RowShare,
  communicator: Communicator,
  wantsLosses: boolean,
): Promise<StepSums> {
  const total = (name: string) => outputs.reduce((sum, o) => sum + Number(o[name].data[0]), 0);
  const [times, losses] = [0, 1].map(() => new Float64Array(wantsLosses ? share.rows : 0));
  if (wantsLosses)
    for (const [k, batch] of batches.entries()) {
      const start = share.first + k * share.batchSize;
      times.set(batch.times, start);
      losses.set(rowLosses(batch, outputs[k]), start);
    }
  return sumOverRanks(communicator, {
    loss: [total("loss")],
    terms: lossTerms.map((term) => (outputs[0][term] ? total(term) : 0)),
    entropy: sumOfLayers(outputs, "routerEntropy"),
    loads: sumOfExperts(outputs),
    times,
    losses,
  });
}

/** What each row lost at its level, before the importance of its time: the mean of `positionLoss` over its targets, [B]. */
function rowLosses({ times, targets }: MicroBatch, outputs: Record<string, TensorData>): number[] {
  const losses = outputs.positionLoss.data as Float32Array;
  const length = losses.length / times.length;
  return times.map((_, b) => {
    let sum = 0;
    for (let p = b * length; p < (b + 1) * length; p++) sum += targets[p] * losses[p];
    return sum;
  });
}

/** An output of shape [L, B], summed over rows and micro-batches: [L]; [] without experts. */
function sumOfLayers(outputs: readonly Record<string, TensorData>[], name: string): Float64Array {
  if (!outputs[0][name]) return new Float64Array(0);
  const [layers, rows] = outputs[0][name].shape;
  const sums = new Float64Array(layers);
  for (const output of outputs)
    for (let i = 0; i < layers * rows; i++) sums[Math.floor(i / rows)] += Number(output[name].data[i]);
  return sums;
}

/** Tokens that chose each expert, summed over rows and micro-batches: [L * E]; [] without experts. */
function sumOfExperts(outputs: readonly Record<string, TensorData>[]): Float64Array {
  if (!outputs[0].expertCounts) return new Float64Array(0);
  const [layers, rows, experts] = outputs[0].expertCounts.shape;
  const load = new Float64Array(layers * experts);
  for (const { expertCounts } of outputs)
    for (let i = 0; i < layers * rows * experts; i++)
      load[Math.floor(i / (rows * experts)) * experts + (i % experts)] += Number(expertCounts.data[i]);
  return load;
}
