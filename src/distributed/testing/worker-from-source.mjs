/** @file A worker of operations.ts: sums WebAssembly memory over all ranks twenty times, and posts the sum of what is there then. */
import { parentPort, workerData } from "node:worker_threads";
import { register } from "tsx/esm/api";

register();
const { attach } = await import("../open-mpi.ts");
const communicator = await attach(workerData);
const values = new Float64Array(new WebAssembly.Memory({ initial: 1 }).buffer, 64, 200).fill(1);
for (let round = 0; round < 20; round++) await communicator.allReduce(values);
parentPort.postMessage(values.reduce((a, b) => a + b, 0));
