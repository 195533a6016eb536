/**
 * @file Fault injection for whole runs: a training process is killed at moments drawn from a seed, and started again, until the run is
 * done; then everything it wrote must be what a run that nobody killed has written.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { RunConfig } from "../../config/index.js";
import { CounterRandom } from "../../random/index.js";
import { ownScript } from "../../runtime/own-script.js";
import { readMetrics } from "../metrics-log.js";
import { RunDirectory } from "../run-directory.js";
import { lossesOf } from "./run-outcome.js";

/** Starts training in `out`, or goes on with what is there; resolves when its own work begins. */
export async function startTraining(config: RunConfig, out: string, shell?: string): Promise<ChildProcess> {
  const resume = await RunDirectory.holdsRun(out);
  const configPath = `${out}.config.json`;
  writeFileSync(configPath, JSON.stringify(config));
  const command = [
    process.execPath,
    ...ownScript(import.meta.url, "train-child"),
    configPath,
    out,
    ...(resume ? ["resume"] : []),
  ];
  const child =
    shell === undefined
      ? spawn(command[0], command.slice(1), { stdio: ["ignore", "pipe", "pipe"] })
      : spawn("bash", ["-c", `${shell}; exec "$0" "$@"`, ...command], { stdio: ["ignore", "pipe", "pipe"] });
  const failed = once(child, "close").then(() => {
    throw new Error(`a training process ended before it began: ${command.join(" ")}`);
  });
  failed.catch(() => {}); // it ends later, too
  await Promise.race([once(child.stdout!, "data"), failed]);
  return child;
}

/** Waits for the end of a process. Kill it meanwhile, if you like. */
export async function endOf(
  child: ChildProcess,
): Promise<{ code: number | null; signal: NodeJS.Signals | null; errors: string }> {
  let errors = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    errors += chunk;
  });
  child.stdout?.resume();
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { code, signal, errors };
}

/** What a run leaves: metrics without the clock's part, and the bytes of weights, averages and moments. */
export function traceOf(out: string): Record<string, unknown> {
  const checkpoints = join(out, "checkpoints");
  const newest = readdirSync(checkpoints).sort().at(-1)!;
  const base64 = (...path: string[]) => readFileSync(join(...path)).toString("base64");
  return {
    metrics: lossesOf(out),
    checkpoints: readdirSync(checkpoints),
    files: readdirSync(out).sort(),
    model: base64(out, "model.safetensors"),
    values: base64(checkpoints, newest, "model.safetensors"),
    ema: base64(checkpoints, newest, "ema.safetensors"),
    moments: base64(checkpoints, newest, "optimizer.safetensors"),
  };
}

export interface KillReport {
  readonly kills: number;
  /** Runs that were killed until they were done, and those of them that ended in other bytes. */
  readonly runs: number;
  readonly differing: string[];
  /** Processes that ended by themselves in another way than by being done: their messages. */
  readonly failures: string[];
  /** Steps in the log at each kill: where the kills fell. */
  readonly stepsAtKill: number[];
}

/**
 * Kills training processes at `kills` moments and compares every run that gets done with one that nobody killed.
 * @param folder runs are written into it
 */
export async function killRuns(
  config: RunConfig,
  folder: string,
  { kills, seed, onKill = () => {} }: { kills: number; seed: number; onKill?: (done: number) => void },
): Promise<KillReport> {
  mkdirSync(folder, { recursive: true });
  const whole = join(folder, "whole");
  const untouched = await startTraining(config, whole);
  const began = performance.now();
  const first = await endOf(untouched);
  const duration = performance.now() - began;
  if (first.code !== 0) throw new Error(`the run that nobody kills failed: ${first.errors}`);
  const expected = traceOf(whole);
  const random = new CounterRandom(seed);
  /** Every other kill falls anywhere in the time that a whole run takes, most of which is preparation; the others after some steps. */
  const killLater = async (child: ChildProcess, number: number, wholeRun: number) => {
    const [when, delay] = [random.uniform(0, number, 0, 0), random.uniform(0, number, 0, 1)];
    if (number % 2 === 0) await sleep(when * wholeRun);
    else {
      let steps = 1 + Math.floor(when * 6);
      await new Promise<void>((resolve) => {
        child.stdout?.on("data", (chunk: Buffer) => {
          steps -= chunk.toString().split("step ").length - 1;
          if (steps <= 0) resolve();
        });
      });
      await sleep(delay * 60); // milliseconds: as long as a step and its checkpoint take
    }
    child.kill("SIGKILL");
  };
  const report = {
    kills: 0,
    runs: 0,
    differing: [] as string[],
    failures: [] as string[],
    stepsAtKill: [] as number[],
  };
  let processes = 0;
  while (report.kills < kills) {
    const out = join(folder, `run${report.runs++}`);
    for (let done = false; !done; ) {
      const child = await startTraining(config, out);
      const end = endOf(child);
      // Numbered by process, not by kill: one that was done before its moment came is not tried again.
      if (report.kills < kills) void killLater(child, processes++, duration);
      const { code, signal, errors } = await end;
      if (signal === "SIGKILL") {
        report.kills++;
        report.stepsAtKill.push(readMetrics(join(out, "metrics.jsonl")).at(-1)?.step ?? 0);
        onKill(report.kills);
      } else {
        done = true;
        if (code !== 0) report.failures.push(errors);
      }
    }
    if (report.failures.length > 0) break;
    const trace = traceOf(out);
    const differs = Object.keys(expected).filter(
      (key) => JSON.stringify(trace[key]) !== JSON.stringify(expected[key]),
    );
    if (differs.length > 0) report.differing.push(`${out}: ${differs.join(", ")}`);
  }
  return report;
}
