/** @file Files that commands write results into: of the kind that is written, none of a run's own, and none that is read. */
import { existsSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { UserError } from "../errors.js";
import { requireWritable } from "../hub/index.js";
import { RUN_FILES } from "../hub/run-files.js";

interface ResultFile {
  readonly flag: string;
  /** Of the file's name. */
  readonly ending: ".html" | ".json" | ".md" | ".svg";
  /** What the command reads. */
  readonly inputs?: readonly string[];
}

/**
 * Makes sure, before any work, that a result can be written there. A file of that ending that is there is taken for an earlier result.
 * @throws UserError for another ending, a file of a run, a file that is read, and a place that cannot be written
 */
export async function requireResultFile(
  path: string,
  { flag, ending, inputs = [] }: ResultFile,
): Promise<void> {
  if (!path.endsWith(ending))
    throw new UserError(`${flag} expects a file name that ends in ${ending}, got "${path}".`);
  const folder = dirname(path);
  if (RUN_FILES.includes(basename(path)) && existsSync(join(folder, "config.json")))
    throw new UserError(
      `${flag}: ${path} is a file of the run in ${folder}, and would be lost; take another name.`,
    );
  if (inputs.some((input) => isSame(input, path)))
    throw new UserError(`${flag}: ${path} is read by this command, and would be lost; take another name.`);
  await requireWritable(path, flag);
}

const isSame = (one: string, other: string): boolean =>
  existsSync(one) && existsSync(other) && realpathSync(one) === realpathSync(other);
