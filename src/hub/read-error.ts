/** @file What is said of a path that cannot be looked at or read, although something may be there. */
import { UserError } from "../errors.js";

const reasons: Record<string, string> = {
  EACCES: "permission denied; change its permissions, or those of the folders it lies in (chmod)",
  EPERM: "permission denied; change its permissions, or those of the folders it lies in (chmod)",
  ELOOP: "its symbolic links lead in a circle; mend or remove them",
  ENAMETOOLONG: "the name is longer than the file system allows; is it a path at all?",
};

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException | null)?.code ?? "";

/** Whether an error of the file system says that there is nothing. */
export const isMissing = (error: unknown): boolean => ["ENOENT", "ENOTDIR"].includes(codeOf(error));

/** A UserError for the failures of reading that a user can mend; anything else is handed back as it is. */
export function explainReadError(error: unknown, path: string): unknown {
  const reason = reasons[codeOf(error)];
  return reason ? new UserError(`Cannot read ${path}: ${reason}.`, { cause: error }) : error;
}
