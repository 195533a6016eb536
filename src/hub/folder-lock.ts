/**
 * @file One process at a time in a folder: a second `train --resume` of a run would take the first one's half-written checkpoint for
 * rubbish and its later ones for a past that is left behind.
 *
 *     .in-use         who is at work: host and process, and when that began
 *     .in-use.lock    the lock itself, whose time of change its owner renews; one that nobody renews counts as left behind
 *
 * or both beside the folder, with its name in front.
 *
 * A process that was killed leaves both. On its own host (in its own container) that is seen at once; elsewhere the lock must grow old.
 * One that stood still for so long, or whose disk did, may find that another has come in meanwhile: it asks before it writes.
 */
import { existsSync, readFileSync } from "node:fs";
import { readFile, readlink, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { isMissing, UserError } from "../errors.js";
import { explainWriteError } from "./durable-file.js";
import { renamePatiently } from "./rename.js";

const OWNER = ".in-use";
/** Milliseconds after which a lock that is not renewed counts as left behind; it is renewed in half of that. */
const STALE = 20_000;
const LOOK = 500;
/** Milliseconds that a process of this machine may take to end. */
const GRACE = 3_000;

const ownerSchema = z.object({
  /** Host, and what tells processes of one container from those of another, and its machine from others of that name. */
  host: z.string(),
  space: z.string().nullable(),
  pid: z.int(),
  /** When the process began, by the machine's own count; null: not known. A number is given to another process later. */
  began: z.string().nullable(),
  /** When the folder was taken: tells the locks of one process apart. */
  taken: z.string().optional(),
});
type Owner = z.infer<typeof ownerSchema>;

/** Whether a file is part of a folder's lock. */
export const isLockFile = (name: string): boolean => name === OWNER || name.startsWith(`${OWNER}.`);

/** A folder that is this process's alone. */
export interface FolderLock {
  /** Gives the folder back. A second time: nothing. Never throws: what cannot be removed is seen through, as a killed process's is. */
  release(): Promise<void>;
  /** Whether it still is this process's: false once another has taken it, because this one has not renewed its lock for 20 s. */
  held(): boolean;
  /** To be called before anything is written or removed. @throws UserError where another process has taken the folder */
  check(): void;
}

/** How to wait for what another process has, instead of giving up. */
export interface Waiting {
  /** Aborted: the wait ends with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called again and again. */
  readonly onWait: () => void;
}

/**
 * Takes a folder for this process.
 * @param folder an existing folder
 * @throws UserError when another process is at work there, or the folder may not be written
 */
export const lockFolder = (folder: string): Promise<FolderLock> => lockAt(join(folder, OWNER), folder);

/**
 * The same with a lock that lies beside the folder, which may then be removed and made anew, or not be there yet. Waits while another
 * process is at work.
 */
export const lockBeside = (folder: string, waiting: Waiting): Promise<FolderLock> =>
  lockAt(`${resolve(folder)}${OWNER}`, folder, waiting);

async function lockAt(path: string, folder: string, waiting?: Waiting): Promise<FolderLock> {
  const self = await ownProcess();
  const began = Date.now();
  for (;;) {
    waiting?.signal?.throwIfAborted();
    const owner = await ownerOf(path);
    const here = owner !== null && owner.host === self.host && owner.space === self.space;
    const alive = here && existsSync(`${path}.lock`) && (await isAlive(owner));
    if (here && !alive)
      await clear(path, owner).catch((error: unknown) => {
        throw explainWriteError(error, folder);
      });
    // One that was suspended renews nothing, and goes on later: alive is enough.
    const lock = alive ? null : await take(path, folder, self);
    if (lock) return lock;
    if (!waiting && Date.now() - began > (here ? GRACE : STALE + 2 * LOOK))
      throw new UserError(
        `${folder} is in use by another process${owner ? ` (${owner.pid} on ${owner.host})` : ""}. ` +
          `Wait for it to end, or stop it; only one may write there. If nothing is at work there, remove ${path}.`,
      );
    waiting?.onWait();
    await sleep(LOOK);
  }
}

/** Removes what a dead owner left. Its file is taken away first, in one step: of several who see it, one goes on. */
async function clear(path: string, owner: Owner): Promise<void> {
  const taken = `${path}.${process.pid}`;
  try {
    await renamePatiently(path, taken);
  } catch {
    return;
  }
  const found = await ownerOf(taken);
  if (JSON.stringify(found) === JSON.stringify(owner))
    await rm(`${path}.lock`, { recursive: true, force: true });
  else await renamePatiently(taken, path); // somebody was faster, and holds it now
  await rm(taken, { force: true });
}

/** What `look` says; false where it fails. */
function attempt(look: () => boolean): boolean {
  try {
    return look();
  } catch {
    return false;
  }
}

/** null: somebody else holds it. */
async function take(path: string, folder: string, self: Owner): Promise<FolderLock | null> {
  const { lock } = await lockLibrary();
  let lost = false;
  const onCompromised = () => {
    lost = true;
  };
  const release = await lock(path, { realpath: false, stale: STALE, onCompromised }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ELOCKED") return null;
      throw explainWriteError(error, folder);
    },
  );
  if (!release) return null;
  const name = JSON.stringify({ ...self, taken: new Date().toISOString() } satisfies Owner);
  await writeFile(path, name).catch(async (error: unknown) => {
    await release().catch(() => {});
    throw explainWriteError(error, folder);
  });
  let released = false;
  const isOwn = () => readFileSync(path, "utf8") === name;
  const held = () => {
    if (released || lost) return false;
    try {
      return isOwn();
    } catch (error) {
      // One that cannot be read now says nothing of another process; one that another looks at (`clear`) is away for a moment.
      return !isMissing(error) || existsSync(`${path}.lock`);
    }
  };
  return {
    held,
    check() {
      if (held()) return;
      if (lost && attempt(isOwn))
        throw new UserError(
          `The lock of ${folder} (${path}.lock) was removed, or could not be renewed for ${STALE / 1000} s (a suspended machine, or a disk that ` +
            "did not answer). Nothing more was written, as another process may take the folder. Resume to go on.",
        );
      const what = existsSync(path)
        ? `${folder} has been taken by another process, as this one did not show for ${STALE / 1000} s that it is alive (a suspended machine, ` +
          "or a disk that did not answer)"
        : `${path} is gone: it was removed, or another process took ${folder} meanwhile and has ended`;
      throw new UserError(
        `${what}. Nothing more was written. Let the other one go on, or stop it and resume.`,
      );
    },
    async release() {
      if (released) return; // given back before: it may be another's now
      const own = held();
      released = true;
      if (own) await rm(path, { force: true }).catch(() => {}); // an error of the work that was done here says more
      // The library takes what is another's for its own until it looks at it again, when it would have renewed it.
      for (let waited = 0; !own && !lost && waited < STALE; waited += LOOK) await sleep(LOOK);
      await release().catch(() => {});
    },
  };
}

let library: Promise<typeof import("proper-lockfile")> | undefined;
/**
 * Loaded when it is first wanted, as it listens to signals from then on: it removes its locks on those that end a process, and ends the
 * process itself where nobody else listens. Also on SIGXFSZ, which Node.js ignores, so that writing beyond a limit is an error with a message.
 */
function lockLibrary(): Promise<typeof import("proper-lockfile")> {
  if (!library) process.on("SIGXFSZ", () => {});
  library ??= import("proper-lockfile");
  return library;
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

const ownProcess = async (): Promise<Owner> => ({
  host: hostname(),
  space: await processSpace(),
  pid: process.pid,
  began: (await statusOf(process.pid))?.began ?? null,
});

/** Which processes these numbers are of: those of a container, of a machine since it was started; null: another system than Linux. */
async function processSpace(): Promise<string | null> {
  const container = await readlink("/proc/self/ns/pid").catch(() => null);
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  return container && `${container} ${boot}`.trim();
}

/** Whether a process of this machine is there; one that has ended and is not yet forgotten (a zombie) is not. */
async function isAlive({ pid, began }: Owner): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // One of another user's is there too (EPERM), and may have been given the number later.
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  const status = await statusOf(pid);
  return status === null || (!status.ended && (began === null || status.began === began));
}

/** What Linux knows of a process; null: nothing, or another system. */
async function statusOf(pid: number): Promise<{ ended: boolean; began: string } | null> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  if (text === null) return null;
  // Behind the name, which may hold anything: state, and as the twentieth field the time it began.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { ended: fields[0] === "Z" || fields[0] === "X", began: fields[19] };
}
