/** @file A child process that answers every line it is sent with one line of JSON (stepper.ts, bench/peers/denoiser.py). */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { ownScript } from "../runtime/own-script.js";
import type { StepperOptions } from "./stepper.js";

/** A value a step. */
export interface StepTimes {
  readonly milliseconds: number[];
  /** Processor time of all threads: with one thread it hardly depends on what else the machine does. */
  readonly cpuMilliseconds: number[];
  readonly losses: number[];
}

export class StepProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #errors: string[] = [];

  private constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
  ) {
    // In a process group of its own: Ctrl-C in a terminal is for the caller alone, who ends its children when it is ready.
    this.#child = spawn(command, args, { detached: true, env });
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => this.#errors.push(text));
    // A process that cannot be started, or has ended, is noticed where its answer is missing.
    this.#child.on("error", (error) => this.#errors.push(error.message));
    this.#child.stdin.on("error", (error) => this.#errors.push(error.message));
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Starts the process; resolves with what it says when it is ready. */
  static async start(name: string, command: string, args: readonly string[], env = process.env) {
    const child = new StepProcess(name, command, args, env);
    try {
      return { child, ready: await child.#next<{ nodes?: number; torch?: string }>() };
    } catch (error) {
      child.kill();
      throw error;
    }
  }

  ask(command: "steps", options: { count: number }): Promise<StepTimes>;
  ask(command: "sample", options: { count: number; steps: number }): Promise<{ milliseconds: number[] }>;
  ask(command: "gradients", options: { path: string }): Promise<{ loss: number }>;
  ask(command: "memory"): Promise<{ peakBytes: number }>;
  ask(command: "reset"): Promise<{ bytes: number }>;
  ask(command: string, options: object = {}): Promise<unknown> {
    this.#child.stdin.write(`${JSON.stringify({ command, ...options })}\n`);
    return this.#next();
  }

  /** A stepper of ours, compiled or (from the sources) read by tsx. */
  static startOurs(name: string, options: StepperOptions) {
    const args = [...ownScript(import.meta.url, "stepper"), JSON.stringify(options)];
    return StepProcess.start(name, process.execPath, args);
  }

  /** Ends the input, and with it the process. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin.end();
    await exited;
  }

  /** Ends it where it stands. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async #next<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.name} ended early:\n${this.#errors.join("").slice(-2000)}`);
    return JSON.parse(value) as T;
  }
}
