/** @file For tests: which files this process holds open. Linux alone tells. */
import { readdirSync, readlinkSync } from "node:fs";

/** Paths of the open files under a folder. */
export const openFilesUnder = (folder: string): string[] =>
  readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${name}`);
      return path.startsWith(`${folder}/`) ? [path] : [];
    } catch {
      return []; // that of the reading itself, closed again
    }
  });
