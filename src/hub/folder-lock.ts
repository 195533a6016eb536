/**
 * @file One process at a time in a folder: a second `train --resume` of a run would take the first one's half-written checkpoint for
 * rubbish and its later ones for a past that is left behind.
 *
 *     .in-use         who is at work: host and process
 *     .in-use.lock    the lock itself, whose time of change its owner renews; one that nobody renews counts as left behind
 *
 * A process that was killed leaves both. On its own host that is seen at once; for another host the lock must grow old first.
 */
import { readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { lock } from "proper-lockfile";
import { z } from "zod";
import { UserError } from "../errors.js";
import { explainWriteError } from "./durable-file.js";

const OWNER = ".in-use";
/** Milliseconds after which a lock that is not renewed counts as left behind; it is renewed in half of that. */
const STALE = 20_000;
const LOOK = 500;
/** Milliseconds that a process of this machine may take to end. */
const GRACE = 3_000;

const ownerSchema = z.object({ host: z.string(), pid: z.int() });
type Owner = z.infer<typeof ownerSchema>;

/** Whether a file is part of a folder's lock. */
export const isLockFile = (name: string): boolean => name === OWNER || name === `${OWNER}.lock`;

/**
 * Takes a folder for this process; what is returned gives it back.
 * @param folder an existing folder
 * @throws UserError when another process is at work there, or the folder may not be written
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  keepWriteErrors();
  const path = join(folder, OWNER);
  const began = Date.now();
  for (;;) {
    const owner = await ownerOf(path);
    const here = owner?.host === hostname();
    const alive = here && (await isAlive(owner.pid));
    if (here && !alive) await rm(`${path}.lock`, { recursive: true, force: true });
    // One that was suspended renews nothing, and goes on later: alive is enough.
    const release = alive ? null : await take(path, folder);
    if (release) return release;
    if (Date.now() - began > (here ? GRACE : STALE + 2 * LOOK))
      throw new UserError(
        `${folder} is in use by another process${owner ? ` (${owner.pid} on ${owner.host})` : ""}. ` +
          `Wait for it to end, or stop it; only one may write there. If nothing is at work there, remove ${path}.`,
      );
    await sleep(LOOK);
  }
}

/** null: somebody else holds it. */
async function take(path: string, folder: string): Promise<(() => Promise<void>) | null> {
  const release = await lock(path, { realpath: false, stale: STALE, onCompromised: () => {} }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ELOCKED") return null;
      throw explainWriteError(error, folder);
    },
  );
  if (!release) return null;
  const owner: Owner = { host: hostname(), pid: process.pid };
  await writeFile(path, JSON.stringify(owner)).catch(async (error: unknown) => {
    await release().catch(() => {});
    throw explainWriteError(error, folder);
  });
  return async () => {
    await rm(path, { force: true });
    await release().catch(() => {}); // taken over by others while this process slept
  };
}

let kept = false;
/**
 * The library removes its locks on the signals that end a process, and ends the process itself where nobody else listens: also on SIGXFSZ,
 * which Node.js ignores, so that writing beyond a limit is an error with a message.
 */
function keepWriteErrors(): void {
  if (!kept) process.on("SIGXFSZ", () => {});
  kept = true;
}

/** Who holds a lock; null: it does not say, or not yet. */
const ownerOf = (path: string): Promise<Owner | null> =>
  readFile(path, "utf8").then(
    (text) => {
      try {
        return ownerSchema.parse(JSON.parse(text));
      } catch {
        return null;
      }
    },
    () => null,
  );

/** Whether a process of this machine is there; one that has ended and is not yet forgotten (a zombie) is not. */
async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
  const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return !/\) [ZX] /.test(status);
}
