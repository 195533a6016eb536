/**
 * @file The one error type for mistakes a user can mend: a missing file, a flag that does not exist, a shape that does not fit.
 * The message says what was expected, what came and what to do next; the command line prints it without a stack trace. And what a file
 * comes to that cannot be read (written: `explainWriteError` of the hub).
 */
export class UserError extends Error {
  override readonly name = "UserError";
}

const readReasons: Record<string, string> = {
  ENOENT: "there is no such file",
  ENOTDIR: "a part of the path is a file, not a folder",
  EISDIR: "it is a folder, not a file",
  EACCES: "permission denied; change its permissions, or those of the folders it lies in (chmod)",
  EPERM: "permission denied; change its permissions, or those of the folders it lies in (chmod)",
  ELOOP: "its symbolic links lead in a circle; mend or remove them",
  ENAMETOOLONG: "the name is longer than the file system allows; is it a path at all?",
  EIO: "the disk failed, or the connection to it; see what the system's log says (dmesg), or read a copy of the file",
  ESTALE: "the file server no longer knows the file or its folder; try again",
  ETIMEDOUT: "the file server did not answer in time; try again when it does",
  EMFILE: "this process has as many files open as it may; raise that limit (ulimit -n)",
  ENFILE: "the system has as many files open as it can; end other programs",
  EBUSY: "another program or the system is using it; try again when that is done",
  ENXIO: "it is a socket, or a device that is not there, not a file",
};

interface Coded {
  readonly code?: unknown;
  readonly cause?: Coded;
}

/** The system's code of an error, or of what it was explained from. */
function codeOf(error: unknown): string {
  const { code, cause } = (error ?? {}) as Coded;
  return String(code ?? cause?.code ?? "");
}

/** Whether an error of the file system says that there is nothing. */
export const isMissing = (error: unknown): boolean => ["ENOENT", "ENOTDIR"].includes(codeOf(error));

/** Whether the system failed (a disk, a file server, a limit), not what was read: `EIO` and its like, explained or not. */
export const isSystemError = (error: unknown): boolean => /^E(?!RR_)[A-Z0-9]+$/.test(codeOf(error));

/**
 * A UserError for the failures of reading that a user can mend; anything else is handed back as it is.
 * @param what the file, and what it is where its name does not say it
 */
export function explainReadError(error: unknown, what: string): unknown {
  const reason = readReasons[codeOf(error)];
  return reason ? new UserError(`Cannot read ${what}: ${reason}.`, { cause: error }) : error;
}

/** The program in the commands that messages name: so it is found in a checkout as in a project that has installed it. */
export const PROGRAM = "npx moe-diffuseq";

/** A word of a command that a message names, quoted where a shell would read it otherwise. */
export const shellWord = (word: string): string =>
  /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
