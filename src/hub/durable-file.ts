/**
 * @file Files that are whole or absent: written under another name in the same folder, forced to the disk (fsync),
 * then renamed. A kill or a power cut at any moment leaves the old file or the new one, never half of one.
 */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, mkdir, open, readdir, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { explainReadError, isMissing, UserError } from "../errors.js";
import { renamePatiently } from "./rename.js";

/** What was written: to be kept in a manifest. */
export interface WrittenFile {
  bytes: number;
  /** SHA-256 in lower-case hexadecimal. */
  sha256: string;
}

/** Bytes handed to the system at a time; small enough that hashing one does not hold up the event loop. */
const CHUNK_BYTES = 1 << 20;

/** Why a file cannot be written, and what may help besides another place. */
const reasons: Record<string, readonly [why: string, help?: string]> = {
  ENOSPC: ["the disk is full", "free some space"],
  EDQUOT: ["the disk quota is used up", "free some space"],
  EROFS: ["the file system is read-only"],
  EACCES: ["permission denied"],
  EPERM: ["permission denied"],
  ENOENT: ["there is no such folder, and none can be made there"],
  ENOTDIR: ["a part of the path is a file, not a folder"],
  EISDIR: ["what stands there is not a file"],
  ELOOP: ["symbolic links in the path lead in a circle", "mend or remove them"],
  ENAMETOOLONG: ["the name is longer than the file system allows"],
  EFBIG: ["the file is larger than the file system allows"],
  EIO: ["the disk failed, or the connection to it", "see what the system's log says (dmesg)"],
  ESTALE: ["the file server no longer knows the file or its folder", "try again"],
  ETIMEDOUT: ["the file server did not answer in time", "try again when it does"],
  EMFILE: ["this process has as many files open as it may", "raise that limit (ulimit -n)"],
  ENFILE: ["the system has as many files open as it can", "end other programs"],
  EBUSY: ["another program or the system is using it", "try again when that is done"],
  ENXIO: ["what stands there is a socket, a pipe that nobody reads from, or a device that is not there"],
};

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException | null)?.code ?? "";

/** Why a file could not be written or removed, in a few words. */
export const whyNotWritten = (error: unknown): string =>
  reasons[codeOf(error)]?.[0] ?? (error as Error).message;

/**
 * A UserError for the failures of writing that a user can mend; anything else is handed back as it is.
 * @param flag what says on the command line where to write
 */
export function explainWriteError(error: unknown, path: string, flag = "--out"): unknown {
  const [why, help] = reasons[codeOf(error)] ?? [];
  if (why === undefined) return error;
  const mend = [help, `write somewhere else with ${flag}`].filter((one) => one !== undefined).join(", or ");
  return new UserError(`Cannot write ${path}: ${why}; ${mend}.`, { cause: error });
}

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );

const isLink = (path: string): Promise<boolean> =>
  lstat(path).then(
    (info) => info.isSymbolicLink(),
    () => false,
  );

const danglingLink = (link: string, path: string, flag = "--out"): UserError =>
  new UserError(
    `Cannot write ${path}: ${link} is a symbolic link to a place that is not there; make the folder it leads to, or remove it, ` +
      `or write somewhere else with ${flag}.`,
  );

/** The folders that are missing on the way to `path`, the uppermost first. */
async function missingFolders(path: string): Promise<string[]> {
  const missing: string[] = [];
  for (let at = resolve(path); ; at = dirname(at)) {
    try {
      await stat(at);
      return missing;
    } catch (error) {
      if (codeOf(error) !== "ENOENT" || at === dirname(at)) throw error;
      missing.unshift(at);
    }
  }
}

/**
 * Makes a folder to write into, with those around it, where it is missing. Returns the first that was made, or undefined.
 * @throws UserError when the place may not be written, or a file stands there
 */
export async function makeFolder(path: string, flag?: string): Promise<string | undefined> {
  let first: string | undefined;
  try {
    // One by one: where the system makes none (/proc), mkdir of Node.js with `recursive` never ends.
    for (const folder of await missingFolders(path))
      try {
        await mkdir(folder);
        first ??= folder;
      } catch (error) {
        if (await isFolder(folder)) continue; // somebody was faster
        throw (await isLink(folder)) ? danglingLink(folder, path, flag) : error;
      }
  } catch (error) {
    throw explainWriteError(error, path, flag);
  }
  if (!(await isFolder(path))) throw new UserError(`${path} is a file, not a folder.`);
  return first;
}

/** Removes the empty folders from `path` up to `first`, which `makeFolder` has made; one that holds something stays, with those around it. */
export async function removeMadeFolders(path: string, first: string | undefined): Promise<void> {
  if (first === undefined) return;
  const top = resolve(first);
  for (let folder = resolve(path); folder.startsWith(top); folder = dirname(folder))
    try {
      await rmdir(folder);
    } catch {
      return;
    }
}

const temporaryOf = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${randomBytes(4).toString("hex")}.tmp`);

/**
 * Makes sure, before any work, that `writeFileAtomic` can write `path` after it: its folder is made, and takes files.
 * @throws UserError when it cannot
 */
export async function requireWritable(path: string, flag?: string): Promise<void> {
  await makeFolder(dirname(path), flag);
  try {
    const there = await stat(path).catch(() => null);
    if (there && !there.isFile()) throw Object.assign(new Error(`${path}: not a file`), { code: "EISDIR" });
    const temporary = temporaryOf(path);
    await writeFile(temporary, "");
    await rm(temporary);
  } catch (error) {
    throw explainWriteError(error, path, flag);
  }
}

/** What file systems say that cannot force a folder to the disk (shared folders of virtual machines, some of the network). */
const NO_FOLDER_SYNC = ["EINVAL", "ENOTSUP", "ENOSYS", "EBADF", "EPERM"];

/** Forces a folder's entries (files made, renamed, removed in it) to the disk, where its file system can. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return; // folders cannot be opened there; NTFS journals renames itself
  const handle = await open(path, "r");
  try {
    await handle.sync().catch((error: unknown) => {
      if (!NO_FOLDER_SYNC.includes(codeOf(error))) throw error;
    });
  } finally {
    await handle.close();
  }
}

/** Writes `chunks` to a new file at `path` and forces them to the disk. Not atomic: for files inside a folder that is. */
export async function writeDurably(path: string, chunks: Iterable<Uint8Array>): Promise<WrittenFile> {
  const hash = createHash("sha256");
  let bytes = 0;
  const handle = await open(path, "w");
  try {
    for (const chunk of chunks) {
      for (let start = 0; start < chunk.length; ) {
        const part = chunk.subarray(start, start + CHUNK_BYTES);
        const { bytesWritten } = await handle.write(part);
        hash.update(part.subarray(0, bytesWritten));
        start += bytesWritten;
        bytes += bytesWritten;
      }
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  return { bytes, sha256: hash.digest("hex") };
}

/**
 * Puts `content` at `path` in one step: readers see the old file or the whole new one.
 * Throws a UserError when the disk is full or may not be written (`flag`: what says where); the old file is untouched then.
 */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array | Iterable<Uint8Array>,
  flag?: string,
): Promise<WrittenFile> {
  const chunks =
    typeof content === "string"
      ? [new TextEncoder().encode(content)]
      : content instanceof Uint8Array
        ? [content]
        : content;
  const temporary = temporaryOf(path);
  try {
    const written = await writeDurably(temporary, chunks);
    await renamePatiently(temporary, path);
    await syncFolder(dirname(path));
    return written;
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {}); // of a name too long, say
    throw explainWriteError(error, path, flag);
  }
}

/** Whether a file is one that `writeFileAtomic` had not finished when its process was killed. */
export const isTemporary = (name: string): boolean => /^\..+\.[0-9a-f]{8}\.tmp$/.test(name);

/** Removes what killed processes have left half-written in a folder, as far as it can be removed. Never while another process writes there. */
export async function removeTemporaryFiles(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names)
    if (isTemporary(name)) await rm(join(folder, name), { force: true }).catch(() => {});
}

async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES }))
    hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/**
 * How a file that could not be read is damaged: it is missing, or what stands there is not a file. Else it may be whole, and only cannot
 * be read now.
 * @throws UserError then
 */
export function damageOfUnread(error: unknown, path: string): string {
  if (isMissing(error)) return `${basename(path)} is missing`;
  if (codeOf(error) === "EISDIR") return `${basename(path)} cannot be read (${(error as Error).message})`;
  throw explainReadError(error, path);
}

/**
 * How the file `name` in `folder` differs from what was written; null: not at all.
 * @throws UserError when that cannot be told, as the file cannot be read now (permissions, a disk or a server that does not answer)
 */
export async function damageOfFile(
  folder: string,
  name: string,
  expected: WrittenFile,
): Promise<string | null> {
  const path = join(folder, name);
  try {
    const { size } = await stat(path);
    if (size !== expected.bytes) return `${name} has ${size} bytes, expected ${expected.bytes}`;
    const same = (await sha256OfFile(path)) === expected.sha256;
    return same ? null : `${name} is not what was written (its checksum differs)`;
  } catch (error) {
    return damageOfUnread(error, path);
  }
}
