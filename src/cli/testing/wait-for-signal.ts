/** @file For tests: a process whose work ends so many milliseconds after it is told to stop. `again`: the first signal comes twice. */
import { setTimeout as sleep } from "node:timers/promises";
import { withInterrupt } from "../interrupt.js";

const [, , milliseconds, again] = process.argv;
const reason = await withInterrupt(process, async (signal) => {
  if (again === "again") signal.addEventListener("abort", () => process.kill(process.pid, "SIGINT"));
  process.stdout.write("working\n");
  while (!signal.aborted) await sleep(5);
  await sleep(Number(milliseconds));
  return String(signal.reason);
});
process.stdout.write(`saved: ${reason}\n`);
