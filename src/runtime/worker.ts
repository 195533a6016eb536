/** @file Entry of the worker thread of a cpu device. */
import { parentPort, workerData } from "node:worker_threads";
import { expose } from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { alone, type CommunicatorHandle } from "../distributed/index.js";
import { CpuHost } from "./cpu-host.js";
import { NativeGate } from "./native-gate.js";

/** What the worker is started with. */
export interface CpuWorkerData {
  readonly threads: number;
  /** Memory of the `NativeGate`. */
  readonly gate: SharedArrayBuffer;
  /** A communicator for this thread alone; null: one rank. */
  readonly communicator: CommunicatorHandle | null;
}

if (parentPort) {
  const { threads, gate, communicator } = workerData as CpuWorkerData;
  const ranks = communicator
    ? await (await import("../distributed/open-mpi.js")).attach(communicator)
    : alone;
  expose(new CpuHost(threads, new NativeGate(gate), ranks), nodeEndpoint(parentPort));
}
