/** @file A child process that answers every line it is sent with one line of JSON (stepper.ts, peers/moe_diffuseq.py). */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";

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
  ) {
    this.#child = spawn(command, args);
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => this.#errors.push(text));
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Starts the process; resolves with what it says when it is ready. */
  static async start(name: string, command: string, args: readonly string[]) {
    const child = new StepProcess(name, command, args);
    return { child, ready: await child.#next<{ nodes?: number; torch?: string }>() };
  }

  ask(command: "steps", options: { count: number }): Promise<StepTimes>;
  ask(command: "sample", options: { count: number }): Promise<{ milliseconds: number[] }>;
  ask(command: "gradients", options: { path: string }): Promise<{ loss: number }>;
  ask(command: "memory"): Promise<{ peakBytes: number }>;
  ask(command: string, options: object = {}): Promise<unknown> {
    this.#child.stdin.write(`${JSON.stringify({ command, ...options })}\n`);
    return this.#next();
  }

  /** Ends the input, and with it the process. */
  async end(): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin.end();
    await exited;
  }

  async #next<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.name} ended early:\n${this.#errors.join("").slice(-2000)}`);
    return JSON.parse(value) as T;
  }
}
