/** @file Entry of the worker thread of a cpu device. */
import { parentPort, workerData } from "node:worker_threads";
import { expose } from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { CpuHost } from "./cpu-host.js";
import { NativeGate } from "./native-gate.js";

/** What the worker is started with. */
export interface CpuWorkerData {
  readonly threads: number;
  /** Memory of the `NativeGate`. */
  readonly gate: SharedArrayBuffer;
}

if (parentPort) {
  const { threads, gate } = workerData as CpuWorkerData;
  expose(new CpuHost(threads, new NativeGate(gate)), nodeEndpoint(parentPort));
}
