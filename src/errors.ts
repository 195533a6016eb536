/**
 * @file The one error type for mistakes a user can mend: a missing file, a flag that does not exist, a shape that does not fit.
 * The message says what was expected, what came and what to do next; the command line prints it without a stack trace.
 */
export class UserError extends Error {
  override readonly name = "UserError";
}

/** A word of a command that a message names, quoted where a shell would read it otherwise. */
export const shellWord = (word: string): string =>
  /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
