/**
 * @file Which rows of a step a rank computes, and in what pieces.
 *
 * A step has batchSize * gradientAccumulation rows, however many ranks share them, so a run's losses do not depend on the number of ranks.
 * Rank r takes the r-th run of rows. It cuts them into micro-batches of equal size, as large as `batchSize` allows: with more ranks first
 * the accumulation shrinks, then the batch.
 */
import type { TrainingConfig } from "../config/index.js";
import type { Communicator } from "../distributed/index.js";
import { UserError } from "../errors.js";

export interface RowShare {
  /** Rows of a step, over all ranks. */
  readonly rows: number;
  /** This rank's first row among them. */
  readonly first: number;
  /** Rows of a micro-batch: at most training.batchSize. */
  readonly batchSize: number;
  /** Micro-batches of this rank. */
  readonly batches: number;
}

/** @throws UserError when the rows cannot be shared evenly */
export function rowShare(
  { batchSize, gradientAccumulation }: Pick<TrainingConfig, "batchSize" | "gradientAccumulation">,
  { rank, size }: Pick<Communicator, "rank" | "size">,
): RowShare {
  const rows = batchSize * gradientAccumulation;
  const own = rows / size;
  if (!Number.isInteger(own))
    throw new UserError(
      `Expected sequences that ${size} ranks can share evenly, got ${rows} a step (training.batchSize ${batchSize} times ` +
        `training.gradientAccumulation ${gradientAccumulation}): make that a multiple of ${size}, or start another number of ranks.`,
    );
  let batches = Math.ceil(own / batchSize);
  while (own % batches !== 0) batches++;
  return { rows, first: rank * own, batchSize: own / batches, batches };
}
