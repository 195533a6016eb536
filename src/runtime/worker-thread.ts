/**
 * @file A worker thread with typed calls: errors that end the thread reach every waiting caller, and an idle thread does not keep the
 * process alive.
 */
import { Worker } from "node:worker_threads";
import { type Remote, wrap } from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { UserError } from "../errors.js";

/** The worker's file, beside this one: compiled when this one is, otherwise the source with what it needs to run. */
const entry = import.meta.url.endsWith(".ts") ? "./worker-from-source.mjs" : "./worker.js";

export class WorkerThread<Host> {
  readonly #worker: Worker;
  readonly #remote: Remote<Host>;
  readonly #waiting = new Set<(reason: Error) => void>();
  #failure: Error | undefined;
  readonly #exited: Promise<void>;

  constructor(workerData: object) {
    // No flags are inherited: those of `node --eval` would stop a worker from starting.
    this.#worker = new Worker(new URL(entry, import.meta.url), { workerData, execArgv: [] });
    this.#remote = wrap<Host>(nodeEndpoint(this.#worker));
    this.#exited = new Promise((resolve) => {
      this.#worker.once("exit", (code) => {
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

  /** Ends the thread and waits for its end. */
  async end(): Promise<void> {
    await this.#worker.terminate();
    await this.#exited;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const reject of this.#waiting) reject(this.#failure);
    this.#waiting.clear();
  }
}
