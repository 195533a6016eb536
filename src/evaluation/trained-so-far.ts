/** @file How far a run had trained when its model was saved: from its newest whole checkpoint, else from the last line of its log. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { RunConfig } from "../config/index.js";
import { UserError } from "../errors.js";
import { latestCheckpoint } from "../training/checkpoint.js";

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
  const log = await readFile(join(path, "metrics.jsonl"), "utf8").catch(() => "");
  const last = log
    .split("\n")
    .map(logLine)
    .findLast((line) => line !== null);
  if (!last) return null;
  return { ...last, rows: last.steps * training.batchSize * training.gradientAccumulation };
}

/** null for a line that says nothing about progress (or was cut off by a kill). */
function logLine(line: string): Omit<TrainedSoFar, "rows"> | null {
  try {
    const { step, tokens, seconds } = JSON.parse(line) as Record<string, unknown>;
    if (typeof step !== "number" || typeof tokens !== "number" || typeof seconds !== "number") return null;
    return { steps: step, tokens, seconds };
  } catch {
    return null;
  }
}
