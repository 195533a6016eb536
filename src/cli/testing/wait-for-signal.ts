/** @file For tests: a process whose work ends half a second after the first Ctrl-C. */
import { setTimeout as sleep } from "node:timers/promises";
import { withInterrupt } from "../interrupt.js";

const reason = await withInterrupt(process, async (signal) => {
  process.stdout.write("working\n");
  while (!signal.aborted) await sleep(5);
  await sleep(Number(process.argv[2]));
  return String(signal.reason);
});
process.stdout.write(`saved: ${reason}\n`);
