/** @file A result in a file of its own, with the settings it was made under: who asks for other settings gets nothing. */
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { makeFolder, writeFileAtomic } from "./durable-file.js";

/** What was kept under these settings (plain JSON); null: nothing, or the file is not what was written. */
export async function readKept<T>(path: string, settings: unknown): Promise<T | null> {
  const text = await readFile(path, "utf8").catch(() => null);
  if (text === null) return null;
  try {
    const file = JSON.parse(text) as { settings: unknown; content: T };
    return JSON.stringify(file.settings) === JSON.stringify(settings) ? file.content : null;
  } catch {
    return null;
  }
}

/** Whole or not at all; the folder is made. @throws UserError when the disk is full or may not be written */
export async function writeKept(path: string, settings: unknown, content: unknown): Promise<void> {
  await makeFolder(dirname(path));
  await writeFileAtomic(path, `${JSON.stringify({ settings, content }, null, 2)}\n`);
}
