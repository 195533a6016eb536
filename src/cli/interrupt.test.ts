import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";

const script = new URL("./testing/wait-for-signal.ts", import.meta.url).pathname;

/** Starts work that takes `ms` to stop and sends it signals after the given pauses. */
async function run(ms: number, signals: [pause: number, signal: NodeJS.Signals][]) {
  const child: ChildProcess = spawn(process.execPath, ["--import", "tsx", script, String(ms)]);
  let output = "";
  child.stdout?.on("data", (chunk) => {
    output += chunk;
  });
  const closed = once(child, "close");
  await once(child.stdout!, "data");
  for (const [pause, signal] of signals) {
    await sleep(pause);
    child.kill(signal);
  }
  const [code] = await closed;
  return { code, output };
}

it("the first signal lets the work end, also when npm sends it twice", async () => {
  const { code, output } = await run(400, [
    [0, "SIGINT"],
    [20, "SIGINT"],
  ]);
  expect(output).toContain("saved: Interrupted: Stopped by SIGINT.");
  expect(code).toBe(0);
});

it("the second ends the process at once", async () => {
  const { code, output } = await run(30_000, [
    [0, "SIGTERM"],
    [400, "SIGINT"],
  ]);
  expect(output).not.toContain("saved");
  expect(code).toBe(130);
});
