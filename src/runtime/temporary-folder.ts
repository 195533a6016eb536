/** @file A folder for files that are wanted for a moment, where the system keeps such ones. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UserError } from "../errors.js";

const reasons: Record<string, string> = {
  ENOENT: "there is no such folder",
  ENOTDIR: "it is a file, not a folder",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
};

/**
 * Makes one, with `name` in its name; to be removed by who asked for it.
 * @throws UserError where the system's place for temporary files (TMPDIR) takes none
 */
export function makeTemporaryFolder(name: string): string {
  try {
    return mkdtempSync(join(tmpdir(), `moe-diffuseq-${name}-`));
  } catch (error) {
    const why = reasons[(error as NodeJS.ErrnoException).code ?? ""];
    if (why === undefined) throw error;
    throw new UserError(
      `Cannot make a temporary folder in ${tmpdir()}: ${why}. Set TMPDIR to a folder that may be written, or make room there.`,
      { cause: error },
    );
  }
}
