/**
 * @file What may change when a run is resumed: its budget, how often it reports and saves, where its files and its moments
 * lie, and how text is drawn. Everything else is what the checkpoint was made with, and a change would silently make another run.
 */
import { type RunConfig, runConfigSchema } from "../config/index.js";
import { isTree } from "../config/layers.js";
import { UserError } from "../errors.js";

const changeable = [
  "preset",
  "generation",
  "data.train",
  "data.valid",
  "data.tokenizer",
  "data.onBadRecord",
  "training.shardOptimizer",
  // The same numbers, to the bit.
  "training.activationCheckpointing",
  "training.backwardPieces",
  "training.maxSteps",
  "training.maxMinutes",
  "training.maxTokens",
  "training.evalEvery",
  "training.evalSequences",
  "training.checkpointEvery",
  "training.keepCheckpoints",
  "training.logEvery",
];

function differences(before: unknown, after: unknown, path: string): string[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  if (!isTree(before) || !isTree(after)) return [path];
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].flatMap((key) => differences(before[key], after[key], path ? `${path}.${key}` : key));
}

/** Throws a UserError that names every setting of `wanted` that may not differ from the run's own, `stored`. */
export function checkResumable(stored: RunConfig, wanted: RunConfig): void {
  const changed = differences(runConfigSchema.parse(stored), runConfigSchema.parse(wanted), "");
  const refused = changed.filter(
    (path) => !changeable.some((open) => path === open || path.startsWith(`${open}.`)),
  );
  if (refused.length === 0) return;
  throw new UserError(
    `A resumed run keeps its settings, but these differ: ${refused.join(", ")}. ` +
      "Leave them out to continue, or start a new run with another --out.",
  );
}
