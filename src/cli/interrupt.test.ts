import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { UserError } from "../errors.js";
import { ownScript } from "../runtime/own-script.js";
import { Interrupted, orGoOn, orKeep } from "./interrupt.js";
import { memoryTerminal } from "./testing/memory-terminal.js";

const script = ownScript(import.meta.url, "testing/wait-for-signal");

/** Starts work that takes `ms` to stop. */
async function start(ms: number, ...args: string[]) {
  const child: ChildProcess = spawn(process.execPath, [...script, String(ms), ...args]);
  let output = "";
  child.stdout?.on("data", (chunk) => {
    output += chunk;
  });
  const closed = once(child, "close");
  await once(child.stdout!, "data");
  const end = async () => {
    const [code] = await closed;
    return { code, output };
  };
  return { child, end };
}

it("the first signal lets the work end, also when npm sends it twice", async () => {
  const { child, end } = await start(400, "again");
  child.kill("SIGINT");
  const { code, output } = await end();
  expect(output).toContain("saved: Interrupted: Stopped by SIGINT.");
  expect(code).toBe(0);
});

it("a command that was stopped says how it goes on; other failures stay what they are", async () => {
  const controller = new AbortController();
  const say = { kept: "All of it is kept in runs/x.", again: "moe-diffuseq claims --out runs/x" };
  const fail = (error: Error) => orGoOn(controller.signal, say, () => Promise.reject(error));
  await expect(fail(new Error("a fault"))).rejects.toThrow("a fault");
  controller.abort(new Interrupted("SIGINT"));
  expect(await fail(new Error("moe-diffuseq, ours ended early"))).toEqual({
    json: { interrupted: true, resume: say.again },
    text: "Stopped. All of it is kept in runs/x.\nGo on with:\n  moe-diffuseq claims --out runs/x",
    exitCode: 130,
  });
  await expect(fail(new UserError("the disk is full"))).rejects.toThrow("the disk is full");
  const done = { json: {}, text: "done" };
  expect(await orGoOn(controller.signal, say, async () => done)).toBe(done);
});

it("a terminal that is gone lets the work end, as a shutdown does", async () => {
  const { child, end } = await start(10);
  child.kill("SIGHUP");
  const { code, output } = await end();
  expect(output).toContain("saved: Interrupted: Stopped by SIGHUP.");
  expect(code).toBe(0);
  expect(new Interrupted("SIGHUP").exitCode).toBe(129);
});

it("a result that is there is shown when what was to be added to it is stopped or fails", async () => {
  const done = { json: { loss: 3 }, text: "loss 3" };
  const controller = new AbortController();
  const after = async (error: Error) => {
    const terminal = memoryTerminal();
    const fail = () => Promise.reject(error);
    const result = await orKeep(done, { terminal, signal: controller.signal }, fail).catch(
      (thrown: Error) => thrown.message,
    );
    return { result, said: terminal.stderr.text };
  };
  const failed = { result: "the disk is full", said: "loss 3\n\n" };
  expect(await after(new UserError("the disk is full"))).toEqual(failed);
  controller.abort(new Interrupted("SIGTERM"));
  expect(await after(controller.signal.reason)).toEqual({
    result: { json: { loss: 3, interrupted: true }, text: "loss 3", exitCode: 143 },
    said: "Stopped. What was done by then:\n",
  });
  expect(await after(new UserError("the disk is full"))).toEqual(failed);
  const { signal } = controller;
  const whole = { json: {}, text: "loss 3, accuracy 1" };
  expect(await orKeep(done, { terminal: memoryTerminal(), signal }, async () => whole)).toBe(whole);
});

it("the second ends the process at once", async () => {
  const { child, end } = await start(30_000);
  child.kill("SIGTERM");
  await once(child.stderr!, "data"); // it has heard the first
  await sleep(400);
  child.kill("SIGINT");
  const { code, output } = await end();
  expect(output).not.toContain("saved");
  expect(code).toBe(130);
});
