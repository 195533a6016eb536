/** @file For tests, one rank of an mpirun: every operation against plain loops over what all ranks are known to hold. Prints "rank r holds". */
import { strict as assert } from "node:assert";
import { Worker } from "node:worker_threads";
import { broadcastJson, joinRanks } from "../index.js";

const communicator = await joinRanks();
const { rank, size } = communicator;
/** What rank r holds at place i: a whole number, so that sums are exact in any order. */
const held = (r: number, i: number) => ((r + 1) * 7919 + i * 104729) % 1009;
const sum = (i: number) => Array.from({ length: size }, (_, r) => held(r, i)).reduce((a, b) => a + b, 0);

for (const length of [0, 1, 31, 4097, 100_001]) {
  for (const values of [new Float32Array(length), new Float64Array(length)]) {
    for (let i = 0; i < length; i++) values[i] = held(rank, i);
    await communicator.allReduce(values);
    for (let i = 0; i < length; i++) assert.equal(values[i], sum(i));
  }
  const whole = Float32Array.from({ length: size * length }, (_, i) => held(rank, i));
  const own = new Float32Array(length);
  await communicator.reduceScatter(whole, own);
  assert.deepEqual(
    own,
    Float32Array.from({ length }, (_, i) => sum(rank * length + i)),
  );

  const parts = new Float32Array(size * length).fill(-1);
  for (let i = 0; i < length; i++) parts[rank * length + i] = held(rank, i);
  await communicator.allGather(parts);
  assert.deepEqual(
    parts,
    Float32Array.from(parts, (_, i) => held(Math.floor(i / length), i % length)),
  );

  const sent = Float32Array.from({ length }, (_, i) => held(rank, i));
  await communicator.broadcast(sent);
  assert.deepEqual(
    sent,
    Float32Array.from({ length }, (_, i) => held(0, i)),
  );
}
await communicator.barrier();
const text = "ü".repeat(100_000);
assert.deepEqual(await broadcastJson(communicator, rank === 0 ? { text } : null), { text });

// WebAssembly memory, and a second thread on a communicator of its own while this one goes on.
const { handle } = await communicator.duplicate();
const worker = new Worker(new URL("./worker-from-source.mjs", import.meta.url), {
  workerData: handle,
  execArgv: [],
});
const answer = new Promise<number>((resolve, reject) => worker.on("message", resolve).on("error", reject));
for (let round = 0; round < 30; round++) {
  const values = Float64Array.of(rank + round);
  await communicator.allReduce(values);
  assert.equal(values[0], (size * (size - 1)) / 2 + size * round);
}
assert.equal(await answer, 200 * size ** 20);
await worker.terminate();
process.stdout.write(`rank ${rank} holds\n`);
