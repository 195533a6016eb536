/** @file How far a run had trained when its model was saved: from its newest whole checkpoint, else from the last line of its log. */
import { join } from "node:path";
import type { RunConfig } from "../config/index.js";
import { UserError } from "../errors.js";
import { latestCheckpoint } from "../training/checkpoint.js";
import { type MetricsRecord, readMetrics } from "../training/metrics-log.js";

/** Plain JSON. */
export interface TrainedSoFar {
  readonly steps: number;
  /** Positions, padding and learned global tokens included. */
  readonly tokens: number;
  /** Rows of training data used, over all epochs. */
  readonly rows: number;
  readonly seconds: number;
}

/** null when the directory holds neither, as one that was copied for its model alone. */
export async function trainedSoFar(path: string, { training }: RunConfig): Promise<TrainedSoFar | null> {
  const checkpoint = await latestCheckpoint(path, { fallback: true }).catch((error: unknown) => {
    if (error instanceof UserError) return null; // all of them damaged: the model itself may be whole
    throw error;
  });
  if (checkpoint) {
    const { step, tokens, row, seconds } = checkpoint.state;
    return { steps: step, tokens, rows: row, seconds };
  }
  const last = readMetrics(join(path, "metrics.jsonl")).findLast(isProgress);
  if (!last) return null;
  const { step, tokens, seconds } = last;
  return { steps: step, tokens, seconds, rows: step * training.batchSize * training.gradientAccumulation };
}

const isProgress = (record: MetricsRecord): record is MetricsRecord & { tokens: number; seconds: number } =>
  typeof record.tokens === "number" && typeof record.seconds === "number";
