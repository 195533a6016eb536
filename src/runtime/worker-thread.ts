/**
 * @file A worker thread with typed calls: errors that end the thread reach every waiting caller, and an idle thread does not keep the
 * process alive.
 */
import { setTimeout } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { type Remote, wrap } from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { UserError } from "../errors.js";
import { NativeGate } from "./native-gate.js";

/** The worker's file, beside this one: compiled when this one is, otherwise the source with what it needs to run. */
const entry = import.meta.url.endsWith(".ts") ? "./worker-from-source.mjs" : "./worker.js";

/** How long the end of a process waits for native work that is going on: longer than any step. */
const LONGEST_WORK = 60_000; // milliseconds

const gates = new Set<NativeGate>();
function closeGates(): void {
  for (const gate of gates) gate.close();
  for (const gate of gates) gate.wait(LONGEST_WORK);
}

export class WorkerThread<Host> {
  readonly #gate = new NativeGate();
  readonly #worker: Worker;
  readonly #remote: Remote<Host>;
  readonly #waiting = new Set<(reason: Error) => void>();
  #failure: Error | undefined;
  readonly #exited: Promise<void>;

  /** @param workerData what the worker is started with, given the memory of the gate its native work must pass */
  constructor(workerData: (gate: SharedArrayBuffer) => object) {
    // No flags are inherited: those of `node --eval` would stop a worker from starting.
    this.#worker = new Worker(new URL(entry, import.meta.url), {
      workerData: workerData(this.#gate.shared),
      execArgv: [],
    });
    if (!process.listeners("exit").includes(closeGates)) process.on("exit", closeGates);
    gates.add(this.#gate);
    this.#remote = wrap<Host>(nodeEndpoint(this.#worker));
    this.#exited = new Promise((resolve) => {
      this.#worker.once("exit", (code) => {
        gates.delete(this.#gate);
        this.#fail(new Error(`the worker thread of the device ended with code ${code}`));
        resolve();
      });
    });
    this.#worker.on("error", (error: Error) =>
      this.#fail(new Error(`the worker thread of the device failed: ${error.message}`, { cause: error })),
    );
    this.#worker.unref();
  }

  /** Calls the host; rejects with its error, or when the thread ends before it answers. */
  call<T>(operation: (host: Remote<Host>) => Promise<T>): Promise<T> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise<T>((resolve, reject) => {
      const settle = () => {
        this.#waiting.delete(reject);
        if (this.#waiting.size === 0) this.#worker.unref();
      };
      if (this.#waiting.size === 0) this.#worker.ref();
      this.#waiting.add(reject);
      operation(this.#remote).then(
        (value) => {
          settle();
          resolve(value);
        },
        (error: Error) => {
          settle();
          // Errors cross threads as plain ones; their class is told by its name.
          reject(error.name === "UserError" ? new UserError(error.message) : error);
        },
      );
    });
  }

  /** Ends the thread, once it is out of native code, and waits for its end. Calls still waiting are rejected. */
  async end(): Promise<void> {
    this.#gate.close();
    while (this.#gate.busy && !this.#failure) await setTimeout(5);
    await this.#worker.terminate();
    await this.#exited;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const reject of this.#waiting) reject(this.#failure);
    this.#waiting.clear();
  }
}
