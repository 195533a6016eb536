/**
 * @file Checkpoints: folders `checkpoints/step-00001234` that hold everything needed to continue to the last bit.
 *
 *     model.safetensors      values of all parameters and buffers
 *     ema.safetensors        averaged weights, when there are any
 *     optimizer.safetensors  AdamW's moments, as `moment1:<name>` and `moment2:<name>`
 *     state.json             step, position in the data ... and size and checksum of the files above
 *
 * A checkpoint is written into `checkpoints/.tmp-*`, forced to the disk and renamed last: a kill at any moment leaves
 * only whole ones. Nothing old is removed before the new one stands.
 */
import { mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "../errors.js";
import { checkpointName, checkpointsIn, listCheckpoints } from "../hub/checkpoint-list.js";
import {
  explainWriteError,
  syncFolder,
  type WrittenFile,
  whyNotWritten,
  writeDurably,
} from "../hub/durable-file.js";
import { renamePatiently } from "../hub/rename.js";
import {
  readSafetensors,
  readSafetensorsHeader,
  type SafetensorsTensor,
  safetensorsChunks,
} from "../hub/safetensors.js";
import { version } from "../version.js";
import { type CheckpointState, formatState, inspectCheckpoint, stateFile } from "./checkpoint-state.js";

export { listCheckpoints };

type CheckpointSlot = "value" | "ema" | "moment1" | "moment2";

/** The part of a ParameterStore that checkpoints need. Arrays are row-major float32 of the spec's shape. */
export interface CheckpointStore {
  readonly specs: readonly { name: string; shape: readonly number[]; trainable: boolean }[];
  read(slot: CheckpointSlot): Promise<Record<string, Float32Array>>;
  write(slot: CheckpointSlot, values: Record<string, Float32Array>): Promise<void>;
}

/** A whole checkpoint on the disk. */
export interface Checkpoint {
  folder: string;
  state: CheckpointState;
}

const temporaryPrefix = ".tmp-";

/** Told what could not be removed: nothing is lost by it, and work goes on. */
export type OnNotice = (message: string) => void;

/** Removes what killed runs left half-written or half-removed. Call before training, never while another run writes. */
export async function removeStaleCheckpoints(runFolder: string, onNotice?: OnNotice): Promise<void> {
  const names = await readdir(checkpointsIn(runFolder)).catch(() => []);
  for (const name of names)
    if (name.startsWith(temporaryPrefix))
      await removeLeftOver(join(checkpointsIn(runFolder), name), onNotice);
}

/** Removes a folder that nothing counts on. */
async function removeLeftOver(folder: string, onNotice?: OnNotice): Promise<void> {
  await rm(folder, { recursive: true, force: true }).catch((error: unknown) => {
    onNotice?.(`Cannot remove ${folder}: ${whyNotWritten(error)}. It is not needed; remove it when you can.`);
  });
}

/** The tensors of `values` (float32, row-major) with the shapes of the specs, in their order, each name after `prefix`. */
export function shapedTensors(
  store: CheckpointStore,
  values: Readonly<Record<string, Float32Array>>,
  prefix = "",
): Record<string, SafetensorsTensor> {
  const named = store.specs.filter((spec) => Object.hasOwn(values, spec.name));
  return Object.fromEntries(
    named.map((spec) => [prefix + spec.name, { shape: spec.shape, data: values[spec.name] }]),
  );
}

/** Writes the tensor files one after the other, so that only one (two for the moments) is held in memory at a time. */
async function writeTensors(
  folder: string,
  store: CheckpointStore,
  ema: boolean,
): Promise<Record<string, WrittenFile>> {
  const write = (file: string, tensors: Record<string, SafetensorsTensor>) =>
    writeDurably(join(folder, file), safetensorsChunks(tensors));
  const files: Record<string, WrittenFile> = {};
  files["model.safetensors"] = await write(
    "model.safetensors",
    shapedTensors(store, await store.read("value")),
  );
  if (ema)
    files["ema.safetensors"] = await write("ema.safetensors", shapedTensors(store, await store.read("ema")));
  files["optimizer.safetensors"] = await write("optimizer.safetensors", {
    ...shapedTensors(store, await store.read("moment1"), "moment1:"),
    ...shapedTensors(store, await store.read("moment2"), "moment2:"),
  });
  return files;
}

/** Takes a checkpoint out of sight in one step, for its removal: a kill in between leaves no half of one behind. */
async function hideCheckpoint(folder: string): Promise<string> {
  const hidden = join(dirname(folder), `${temporaryPrefix}removed-${process.pid}-${Date.now()}`);
  await renamePatiently(folder, hidden);
  return hidden;
}

/** Removes a checkpoint that a newer one has made needless. */
async function removeCheckpoint(folder: string, onNotice?: OnNotice): Promise<void> {
  const hidden = await hideCheckpoint(folder).catch((error: unknown) => {
    onNotice?.(
      `Cannot remove the old checkpoint ${folder}: ${whyNotWritten(error)}. Newer ones are whole; it is tried again at the next.`,
    );
    return null;
  });
  if (hidden !== null) await removeLeftOver(hidden, onNotice);
}

export interface SaveOptions {
  /** Newest checkpoints kept, this one included. Default 2. */
  keep?: number;
  /** Whether the store averages its weights. Default true. */
  ema?: boolean;
  onNotice?: OnNotice | undefined;
}

/**
 * Saves the store and `state` as a new checkpoint of the run in `runFolder` and removes the oldest beyond `keep`.
 * A whole checkpoint of the same step is left as it is; damaged ones and ones of later steps (which a resumed run has
 * left behind) make way. One that cannot be removed stays, and is told.
 *
 * @returns the checkpoint's folder.
 * @throws UserError when the disk is full or may not be written; older checkpoints are untouched then.
 */
export async function saveCheckpoint(
  runFolder: string,
  state: CheckpointState,
  store: CheckpointStore,
  { keep = 2, ema = true, onNotice }: SaveOptions = {},
): Promise<string> {
  const folder = join(checkpointsIn(runFolder), checkpointName(state.step));
  const existing = (await listCheckpoints(runFolder)).find((other) => other.step === state.step);
  const whole = existing !== undefined && (await inspectCheckpoint(folder)).damage === null;
  if (!whole)
    await writeCheckpoint(folder, state, store, { ema, replaces: existing !== undefined, onNotice });
  // Also beside one that was there: the process that wrote it may have been killed before it came to the old ones.
  const all = await listCheckpoints(runFolder).catch((error: Error) => {
    onNotice?.(`${error.message} Old checkpoints are left for the next time.`);
    return [];
  });
  const past = all.filter((other) => other.step <= state.step);
  for (const old of [...all.filter((other) => other.step > state.step), ...past.slice(keep)]) {
    await removeCheckpoint(old.folder, onNotice);
  }
  return folder;
}

/** Writes a checkpoint beside `folder` and renames it, in place of a damaged one where it `replaces` one. */
async function writeCheckpoint(
  folder: string,
  state: CheckpointState,
  store: CheckpointStore,
  { ema, replaces, onNotice }: Pick<SaveOptions, "onNotice"> & { ema: boolean; replaces: boolean },
): Promise<void> {
  const parent = dirname(folder);
  const temporary = join(parent, `${temporaryPrefix}${checkpointName(state.step)}-${process.pid}`);
  try {
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    const files = await writeTensors(temporary, store, ema);
    const text = formatState(state, files, version);
    await writeDurably(join(temporary, stateFile), [new TextEncoder().encode(text)]);
    await syncFolder(temporary);
    const replaced = replaces ? await hideCheckpoint(folder) : null;
    await renamePatiently(temporary, folder);
    await syncFolder(parent);
    if (replaced !== null) await removeLeftOver(replaced, onNotice);
  } catch (error) {
    await removeLeftOver(temporary); // without a word: the error says more
    throw explainWriteError(error, folder);
  }
}

/**
 * The newest checkpoint of a run, verified file by file; null when there is none.
 *
 * @param options.fallback pass over damaged ones to the newest that is whole. Default false.
 * @throws UserError when the newest is damaged (naming it, the damage and the newest whole one), none is whole, or one cannot be read now.
 */
export async function latestCheckpoint(
  runFolder: string,
  { fallback = false }: { fallback?: boolean } = {},
): Promise<Checkpoint | null> {
  const damaged: { folder: string; damage: string }[] = [];
  for (const { folder, step } of await listCheckpoints(runFolder)) {
    const { state, damage } = await inspectCheckpoint(folder).catch((error: unknown) => {
      if (!(error instanceof UserError)) throw error;
      throw new UserError(
        `${error.message} The checkpoint may be whole, so nothing is changed or removed; to leave it behind, move ${folder} away.`,
        { cause: error },
      );
    });
    if (damage !== null) {
      damaged.push({ folder, damage });
    } else if (damaged.length === 0 || fallback) {
      return { folder, state };
    } else {
      throw new UserError(
        `The newest checkpoint ${damaged[0].folder} is damaged: ${damaged[0].damage}. ` +
          `The one of step ${step} is whole: resume with --fallback to continue from there.`,
      );
    }
  }
  if (damaged.length === 0) return null;
  throw new UserError(
    `No checkpoint in ${checkpointsIn(runFolder)} is whole. ` +
      `${damaged.map((entry) => `${entry.folder}: ${entry.damage}`).join("; ")}. ` +
      "Restore one from a copy, or start a new run with another --out.",
  );
}

/** Tensors of `file` as plain arrays, their names and shapes held against the store's. */
async function readInto(path: string, store: CheckpointStore, wanted: "all" | "trainable", prefix = "") {
  const { entries } = await readSafetensorsHeader(path);
  const specs = new Map(store.specs.map((spec) => [prefix + spec.name, spec]));
  const fail = (what: string) =>
    new UserError(`${path} is of another model: ${what}. Resume with the configuration the run began with.`);
  const own = Object.entries(entries).filter(([name]) => name.startsWith(prefix));
  for (const [name, { dtype, shape }] of own) {
    const spec = specs.get(name);
    if (!spec) throw fail(`it has a tensor "${name}" that the model has not`);
    if (spec.shape.length !== shape.length || spec.shape.some((size, axis) => size !== shape[axis])) {
      throw fail(`"${name}" has shape [${shape}], the model wants [${spec.shape}]`);
    }
    if (dtype !== "F32") throw fail(`"${name}" is not F32`);
  }
  for (const [name, { trainable }] of specs)
    if (!Object.hasOwn(entries, name) && (wanted === "all" || trainable)) throw fail(`it lacks "${name}"`);
  const names = own.map(([name]) => name);
  const { tensors } = await readSafetensors(path, { names });
  return Object.fromEntries(names.map((name) => [specs.get(name)!.name, tensors[name].data as Float32Array]));
}

/**
 * Puts the tensors of a checkpoint into a store: values, averages (when `ema`, default true) and moments.
 * Throws a UserError when names or shapes are another model's.
 */
export async function restoreCheckpoint(
  folder: string,
  store: CheckpointStore,
  { ema = true }: { ema?: boolean } = {},
): Promise<void> {
  await store.write("value", await readInto(join(folder, "model.safetensors"), store, "all"));
  if (ema) await store.write("ema", await readInto(join(folder, "ema.safetensors"), store, "trainable"));
  const optimizer = join(folder, "optimizer.safetensors");
  await store.write("moment1", await readInto(optimizer, store, "trainable", "moment1:"));
  await store.write("moment2", await readInto(optimizer, store, "trainable", "moment2:"));
}
