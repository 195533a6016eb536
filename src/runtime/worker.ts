/** @file Entry of the worker thread of a device on ONNX Runtime. */
import { parentPort, workerData } from "node:worker_threads";
import { expose } from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { alone, type CommunicatorHandle } from "../distributed/index.js";
import { NativeGate } from "./native-gate.js";
import { OnnxHost, type Provider } from "./onnx-host.js";

/** What the worker is started with. */
export interface OnnxWorkerData {
  readonly provider: Provider;
  readonly threads: number;
  /** Memory of the `NativeGate`. */
  readonly gate: SharedArrayBuffer;
  /** A communicator for this thread alone; null: one rank. */
  readonly communicator: CommunicatorHandle | null;
}

if (parentPort) {
  const { provider, threads, gate, communicator } = workerData as OnnxWorkerData;
  const ranks = communicator
    ? await (await import("../distributed/open-mpi.js")).attach(communicator)
    : alone;
  expose(new OnnxHost(provider, threads, new NativeGate(gate), ranks), nodeEndpoint(parentPort));
}
