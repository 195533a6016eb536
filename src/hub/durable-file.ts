/**
 * @file Files that are whole or absent: written under another name in the same folder, forced to the disk (fsync),
 * then renamed. A kill or a power cut at any moment leaves the old file or the new one, never half of one.
 */
import { createHash, randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { UserError } from "../errors.js";

/** What was written: to be kept in a manifest. */
export interface WrittenFile {
  bytes: number;
  /** SHA-256 in lower-case hexadecimal. */
  sha256: string;
}

/** Bytes handed to the system at a time; small enough that hashing one does not hold up the event loop. */
const CHUNK_BYTES = 1 << 20;

const reasons: Record<string, string> = {
  ENOSPC: "the disk is full; free some space, or write somewhere else with --out",
  EDQUOT: "the disk quota is used up; free some space, or write somewhere else with --out",
  EROFS: "the file system is read-only; write somewhere else with --out",
  EACCES: "permission denied; write somewhere else with --out",
  EPERM: "permission denied; write somewhere else with --out",
  ENOTDIR: "a part of the path is a file, not a folder",
  EFBIG: "the file is larger than the file system allows",
};

/** A UserError for the failures of writing that a user can mend; anything else is handed back as it is. */
export function explainWriteError(error: unknown, path: string): unknown {
  const reason = reasons[(error as NodeJS.ErrnoException | null)?.code ?? ""];
  return reason ? new UserError(`Cannot write ${path}: ${reason}.`, { cause: error }) : error;
}

/** Forces a folder's entries (files made, renamed, removed in it) to the disk. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return; // folders cannot be opened there; NTFS journals renames itself
  const handle = await open(path, "r");
  try {
    await handle.sync();
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
 * Throws a UserError when the disk is full or may not be written; the old file is untouched then.
 */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array | Iterable<Uint8Array>,
): Promise<WrittenFile> {
  const chunks =
    typeof content === "string"
      ? [new TextEncoder().encode(content)]
      : content instanceof Uint8Array
        ? [content]
        : content;
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString("hex")}.tmp`);
  try {
    const written = await writeDurably(temporary, chunks);
    await rename(temporary, path);
    await syncFolder(dirname(path));
    return written;
  } catch (error) {
    await rm(temporary, { force: true });
    throw explainWriteError(error, path);
  }
}
