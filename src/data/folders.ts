/**
 * @file Which files a path stands for: a folder is walked in name order; what is hidden, installed or linked away is left out.
 */
import { createHash } from "node:crypto";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { closest, distance } from "fastest-levenshtein";
import { explainReadError, isMissing, UserError } from "../errors.js";

/** The files that stand directly in one folder. */
export interface FolderFiles {
  readonly folder: string;
  readonly files: readonly string[];
}

const byName = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const isWalked = (name: string): boolean => !name.startsWith(".") && name !== "node_modules";

/** Every folder under `root` that directly holds files, depth first, names in code unit order (the same on every machine). */
export async function* walkFolder(root: string): AsyncGenerator<FolderFiles> {
  const entries = await readdir(root, { withFileTypes: true }).catch((error: unknown) => {
    throw explainReadError(error, root);
  });
  entries.sort((a, b) => byName(a.name, b.name));
  const visible = entries.filter((entry) => isWalked(entry.name));
  const files: string[] = [];
  for (const entry of visible) {
    const path = join(root, entry.name);
    // A linked file is read; a linked folder is not entered, so that no loop can arise.
    if (entry.isFile() || (entry.isSymbolicLink() && (await isFile(path)))) files.push(path);
  }
  if (files.length > 0) yield { folder: root, files };
  for (const entry of visible) if (entry.isDirectory()) yield* walkFolder(join(root, entry.name));
}

const isFile = async (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isFile(),
    () => false,
  );

const exists = async (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/**
 * "file" or "folder".
 * @throws UserError saying why the path cannot be looked at; where nothing is there, its first missing part and the nearest name there is
 */
export async function kindOfPath(path: string): Promise<"file" | "folder"> {
  const found = await stat(path).catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw explainReadError(error, path);
  });
  if (found) return found.isDirectory() ? "folder" : "file";
  let missing = resolve(path);
  while (dirname(missing) !== missing && !(await exists(dirname(missing)))) missing = dirname(missing);
  const parent = dirname(missing);
  const siblings = await readdir(parent).catch((): string[] => []);
  const name = basename(missing);
  if (siblings.includes(name))
    throw new UserError(
      `${path}: expected a file or folder, found ${missing}, a symbolic link to something that is not there`,
    );
  const nearest = siblings.length > 0 ? closest(name, siblings) : null;
  const where = missing === resolve(path) ? "" : ` (there is no ${missing})`;
  // A name that shares less than half its letters is no help.
  const hint =
    nearest !== null && 2 * distance(name, nearest) < Math.max(name.length, nearest.length)
      ? `the nearest name there is ${join(parent, nearest)}`
      : `nothing in ${parent} has a name like it`;
  throw new UserError(`${path}: expected a file or folder, found nothing${where}; ${hint}`);
}

/** Where a path leads, symbolic links followed as far as it exists. */
async function realPath(path: string): Promise<string> {
  const whole = resolve(path);
  return realpath(whole).catch(async () => {
    const parent = dirname(whole);
    return parent === whole ? whole : join(await realPath(parent), basename(whole));
  });
}

/**
 * Whether what is written into the folder `out` would be read as texts of one of these paths.
 * @throws UserError naming that path
 */
export async function refuseInside(out: string, paths: readonly string[]): Promise<void> {
  const place = await realPath(out);
  for (const path of paths) {
    const inner = relative(await realPath(path), place);
    // ".." leads outside; hidden and installed folders are not walked.
    const walked = !isAbsolute(inner) && inner.split(sep).every(isWalked);
    if (walked && (await kindOfPath(path)) === "folder")
      throw new UserError(
        `${out} lies in ${path}, whose files are read as texts: what is written there would be read too. ` +
          "Give --out a folder outside of it, or --data the folders that hold the texts.",
      );
  }
}

/** A file behind a path, as the disk has it. */
interface FoundFile {
  readonly file: string;
  readonly size: number;
  readonly modified: number;
}

/** All files that some paths stand for; those that cannot be looked at are left out. */
async function* filesOf(paths: readonly string[]): AsyncGenerator<FoundFile> {
  async function* look(files: readonly string[]): AsyncGenerator<FoundFile> {
    for (const file of files) {
      const found = await stat(file).catch(() => null);
      if (found?.isFile()) yield { file, size: found.size, modified: found.mtimeMs };
    }
  }
  for (const path of paths)
    if ((await kindOfPath(path)) === "file") yield* look([path]);
    else for await (const { files } of walkFolder(path)) yield* look(files);
}

/** Bytes on the disk behind some paths, for the progress of a long reading. */
export async function sizeOfPaths(paths: readonly string[]): Promise<number> {
  let bytes = 0;
  for await (const { size } of filesOf(paths)) bytes += size;
  return bytes;
}

/** Differs when a file behind some paths was added, taken away or written (by its size and time): without reading any. */
export async function stampOfPaths(paths: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for await (const found of filesOf(paths)) hash.update(`${JSON.stringify(found)}\n`);
  return hash.digest("hex");
}
