/**
 * @file Renaming that has patience: on Windows neither a file that somebody has open (a virus scanner, an indexer) nor one in the place of
 * which the other is to come can be renamed for that moment.
 */
import { rename } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** What Windows says of a file that is open elsewhere. Other systems say it of what stays so. */
const HELD = ["EPERM", "EACCES", "EBUSY"];
/** Milliseconds to wait before each further attempt: a second and a quarter in all. */
const PAUSES = [10, 20, 40, 80, 160, 320, 640];

/** Renames a file or a folder; on Windows, tries for a moment where somebody has it open. */
export async function renamePatiently(
  from: string,
  to: string,
  { platform = process.platform, move = rename }: { platform?: NodeJS.Platform; move?: typeof rename } = {},
): Promise<void> {
  for (const pause of platform === "win32" ? PAUSES : []) {
    try {
      return await move(from, to);
    } catch (error) {
      if (!HELD.includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    }
    await sleep(pause);
  }
  await move(from, to);
}
