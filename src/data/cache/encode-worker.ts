/** @file Entry of a tokenizing thread: a batch of texts comes, its ids go back. */
import { parentPort, workerData } from "node:worker_threads";
import { Tokenizer, type TokenizerJson } from "../tokenizer.js";
import { encodeBatch, type Parts } from "./encode.js";

if (parentPort) {
  const tokenizer = Tokenizer.fromJSON(workerData as TokenizerJson);
  parentPort.on("message", (documents: readonly Parts[]) => {
    const batch = encodeBatch(tokenizer, documents);
    const { ids, digests } = batch;
    parentPort?.postMessage(batch, [ids.buffer as ArrayBuffer, digests.buffer as ArrayBuffer]);
  });
}
