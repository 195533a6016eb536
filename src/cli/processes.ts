/** @file Several processes of this program side by side, so many at a time. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { UserError } from "../errors.js";
import { ownScript } from "../runtime/own-script.js";

/** One process: `node ...args`. */
export interface Job {
  /** What its failure is told as. */
  readonly name: string;
  readonly args: readonly string[];
}

/** Node's arguments for this program's executable with a command line of its own. */
export const ownProgram = (commandLine: readonly string[]): string[] => [
  ...ownScript(import.meta.url, "main"),
  ...commandLine,
];

export interface JobsOptions {
  readonly signal?: AbortSignal;
  /** The last line that each running process wrote to its standard error, and how many have ended. */
  readonly onProgress?: (lines: readonly string[], done: number) => void;
}

/** Lines of a failed process that are shown. */
const SHOWN_LINES = 5;

/**
 * Runs all jobs, at most `atOnce` at the same time, in their order. When one fails no other is started, and those that run may finish; when
 * the signal is aborted they are stopped, as by Ctrl-C, and waited for.
 * @throws UserError when one fails, with the end of what it said; the signal's reason when it is aborted
 */
export async function runJobs(
  jobs: readonly Job[],
  atOnce: number,
  { signal, onProgress = () => {} }: JobsOptions = {},
): Promise<void> {
  const running = new Map<Job, string>();
  let [next, done, failed] = [0, 0, false];
  const tell = () => onProgress([...running.values()], done);
  const work = async () => {
    while (next < jobs.length && !failed && !signal?.aborted) {
      const job = jobs[next++];
      running.set(job, `${job.name}: starting`);
      try {
        await runJob(job, signal, (line) => {
          running.set(job, line);
          tell();
        });
      } catch (error) {
        failed = true;
        throw error;
      } finally {
        running.delete(job);
      }
      done++;
      tell();
    }
  };
  const workers = await Promise.allSettled(Array.from({ length: Math.min(atOnce, jobs.length) }, work));
  signal?.throwIfAborted();
  const first = workers.find((worker) => worker.status === "rejected");
  if (first) throw first.reason;
}

async function runJob(
  { name, args }: Job,
  signal: AbortSignal | undefined,
  onLine: (line: string) => void,
): Promise<void> {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  const lines: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => {
    if (line.trim() === "") return;
    lines.push(line);
    if (lines.length > SHOWN_LINES) lines.shift();
    onLine(line);
  });
  const onAbort = () => child.kill("SIGINT");
  signal?.addEventListener("abort", onAbort);
  const ended = await new Promise<number | string | null>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, killedBy) => resolve(code ?? killedBy));
  }).finally(() => signal?.removeEventListener("abort", onAbort));
  if (ended === 0) return;
  throw new UserError(`${name}: its process ended (${ended}).\n${lines.join("\n")}`);
}
