/** @file For tests: a process that saves checkpoints into the folder named on its command line until it is killed. */
import { saveCheckpoint } from "../checkpoint.js";
import { MemoryStore } from "./memory-store.js";

const specs = [{ name: "weight", shape: [100_000], trainable: true }];
for (let step = 1; ; step++) {
  const state = { step, tokens: 0, seconds: 0, seed: 1, row: step, timeSampler: {} };
  await saveCheckpoint(process.argv[2], state, new MemoryStore(specs, step), { keep: 2 });
  if (step === 1) process.stdout.write("saving\n");
}
