/** @file Entry of the worker thread of a cpu device. */
import { parentPort, workerData } from "node:worker_threads";
import { expose } from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { CpuHost } from "./cpu-host.js";

/** What the worker is started with. */
export interface CpuWorkerData {
  readonly threads: number;
}

if (parentPort) expose(new CpuHost((workerData as CpuWorkerData).threads), nodeEndpoint(parentPort));
