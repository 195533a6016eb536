/** @file Where the checkpoints of a run lie: `checkpoints/step-00001234` in its folder. What is in them: the training room. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { explainReadError, isMissing } from "../errors.js";

export const checkpointsIn = (runFolder: string): string => join(runFolder, "checkpoints");
export const checkpointName = (step: number): string => `step-${String(step).padStart(8, "0")}`;

/** Steps of the checkpoints of a run, newest first; whether they are whole is not looked at. */
export async function listCheckpoints(runFolder: string): Promise<{ step: number; folder: string }[]> {
  const names = await readdir(checkpointsIn(runFolder)).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw explainReadError(error, checkpointsIn(runFolder));
  });
  return names
    .flatMap((name) => {
      const step = /^step-(\d{8,})$/.exec(name)?.[1];
      return step ? [{ step: Number(step), folder: join(checkpointsIn(runFolder), name) }] : [];
    })
    .sort((a, b) => b.step - a.step);
}
