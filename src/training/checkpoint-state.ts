/**
 * @file What a checkpoint knows besides its tensors: how far training is, where the data and the samplers stand, and
 * the manifest (size and SHA-256 of every other file). `state.json` carries a checksum of itself too.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { damageOfFile, damageOfUnread, type WrittenFile } from "../hub/durable-file.js";

const count = z.int().min(0);

export const checkpointStateSchema = z.strictObject({
  step: count.describe("optimiser steps done"),
  tokens: count.describe("tokens trained on"),
  seconds: z.number().min(0).describe("wall-clock time spent training"),
  seed: count.describe("the run's seed"),
  row: count.describe("number of the next row of training data, over all epochs"),
  timeSampler: z
    .record(z.string(), z.json())
    .default({})
    .describe("state of the timestep sampler (loss-aware: its loss history), which knows what it means"),
  settings: z
    .record(z.string(), z.json())
    .optional()
    .describe("the run's settings that may not change; older checkpoints have none"),
});

/** Where training stands after `step` steps. */
export type CheckpointState = z.infer<typeof checkpointStateSchema>;

/** Checkpoints of older versions have a field more, always empty. */
const storedStateSchema = checkpointStateSchema
  .extend({ router: z.unknown().optional() })
  .transform(({ router: _, ...state }): CheckpointState => state);

const manifestSchema = z.strictObject({
  formatVersion: z.literal(1),
  version: z.string().describe("version of the program that wrote it"),
  sha256: z.string().describe("checksum of JSON.stringify([state, files])"),
  files: z.record(z.string(), z.strictObject({ bytes: count, sha256: z.string() })),
  state: storedStateSchema,
});

export const stateFile = "state.json";
/** The tensor files of every checkpoint; `ema.safetensors` is there when weights are averaged. */
export const requiredFiles = ["model.safetensors", "optimizer.safetensors"] as const;

function checksum(state: unknown, files: unknown): string {
  return createHash("sha256")
    .update(JSON.stringify([state, files]))
    .digest("hex");
}

/** The text of `state.json`. `files`: what was written beside it. */
export function formatState(
  state: CheckpointState,
  files: Readonly<Record<string, WrittenFile>>,
  version: string,
): string {
  const checked = checkpointStateSchema.parse(state);
  const manifest = { formatVersion: 1, version, sha256: checksum(checked, files), files, state: checked };
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/**
 * Reads `state.json` in `folder` and holds every file against the manifest. Never throws for what it finds there.
 * @throws UserError when a file that may be whole cannot be read now
 */
export async function inspectCheckpoint(
  folder: string,
): Promise<{ state: CheckpointState; damage: null } | { state: null; damage: string }> {
  let text: string;
  try {
    text = await readFile(join(folder, stateFile), "utf8");
  } catch (error) {
    return { state: null, damage: damageOfUnread(error, join(folder, stateFile)) };
  }
  let manifest: z.infer<typeof manifestSchema>;
  try {
    const json = JSON.parse(text) as { sha256?: unknown; state?: unknown; files?: unknown };
    if (json.sha256 !== checksum(json.state, json.files)) {
      return { state: null, damage: `${stateFile} is not what was written (its checksum differs)` };
    }
    manifest = manifestSchema.parse(json);
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : "it is not whole JSON";
    return { state: null, damage: `${stateFile} cannot be read: ${reason}` };
  }
  const missing = requiredFiles.find((name) => !Object.hasOwn(manifest.files, name));
  if (missing) return { state: null, damage: `${stateFile} does not list ${missing}` };
  for (const [name, expected] of Object.entries(manifest.files)) {
    const damage = await damageOfFile(folder, name, expected);
    if (damage) return { state: null, damage };
  }
  return { state: manifest.state, damage: null };
}
