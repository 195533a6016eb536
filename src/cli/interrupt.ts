/**
 * @file Ctrl-C: the first asks the work to stop where it can be taken up again, the second ends the process at once. SIGTERM counts as
 * much, SIGHUP (the terminal is gone: a connection that broke; what is saved stays, though Node itself may end by a signal then), and SIGUSR2, which mpirun hands on to its ranks at once and which
 * schedulers can be told to send before the time is up.
 */
import { UserError } from "../errors.js";
import type { CommandResult, Terminal } from "./terminal.js";

/** A second signal sooner than this is the same key press: `npm run` hands on what the terminal has sent already. */
const SAME_PRESS_MS = 300;
const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGUSR2: 140, SIGTERM: 143 } as const;
export type StopSignal = keyof typeof exitCodes;

/** Why an AbortSignal made here was aborted; `exitCode` is what shells expect of a process ended so. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly exitCode: number;
  constructor(readonly signal: StopSignal) {
    super(`Stopped by ${signal}.`);
    this.exitCode = exitCodes[signal];
  }
}

/** What work ended by, where it was stopped; null: it failed by itself. */
export const stoppedBy = ({ reason }: AbortSignal, error: unknown): Interrupted | null =>
  reason instanceof Interrupted && !(error instanceof UserError) ? reason : null;

/**
 * What a command comes to that was stopped while `work` ran: where it keeps what is done, and the command that goes on from there.
 * Otherwise what `work` comes to.
 */
export async function orGoOn(
  signal: AbortSignal,
  { kept, again }: { readonly kept: string; readonly again: string },
  work: () => Promise<CommandResult>,
): Promise<CommandResult> {
  try {
    return await work();
  } catch (error) {
    const stopped = stoppedBy(signal, error);
    if (!stopped) throw error;
    return {
      json: { interrupted: true, resume: again },
      text: `Stopped. ${kept}\nGo on with:\n  ${again}`,
      exitCode: stopped.exitCode,
    };
  }
}

/**
 * What a command comes to that has a result already while `work` adds to it. Stopped, that result, and the exit code says so. Where the
 * work fails, its text goes to standard error before the error does.
 */
export async function orKeep(
  done: CommandResult,
  { terminal, signal }: { readonly terminal: Terminal; readonly signal: AbortSignal },
  work: () => Promise<CommandResult>,
): Promise<CommandResult> {
  try {
    return await work();
  } catch (error) {
    const stopped = stoppedBy(signal, error);
    if (stopped) {
      terminal.stderr.write("Stopped. What was done by then:\n");
      return { ...done, json: { ...done.json, interrupted: true }, exitCode: stopped.exitCode };
    }
    if (done.text !== undefined) terminal.stderr.write(`${done.text}\n\n`);
    throw error;
  }
}

/**
 * Runs `work` with a signal that the first SIGINT, SIGTERM, SIGHUP or SIGUSR2 aborts (reason: Interrupted); the second ends the process
 * with 130 (143, 129, 140). The handlers are gone when `work` has ended.
 */
export async function withInterrupt<T>(
  terminal: Terminal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  let first = 0;
  const onSignal = (signal: StopSignal) => {
    const now = performance.now();
    if (!controller.signal.aborted) {
      first = now;
      terminal.stderr.write("\nStopping ... (once more to stop at once)\n");
      controller.abort(new Interrupted(signal));
    } else if (now - first > SAME_PRESS_MS) {
      process.exit(exitCodes[signal]);
    }
  };
  const signals = Object.keys(exitCodes) as StopSignal[];
  for (const signal of signals) process.on(signal, onSignal);
  try {
    return await work(controller.signal);
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
  }
}
