/** @file For tests: a disk that is soon full. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";

/** A file system of 64 KiB at `folder`, if this process may mount one. */
export function tinyDisk(folder: string): boolean {
  mkdirSync(folder);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

export const removeDisk = (folder: string): void => {
  execFileSync("umount", [folder]);
};
