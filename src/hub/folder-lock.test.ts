import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { lockFolder } from "./folder-lock.js";

const base = mkdtempSync(join(tmpdir(), "folder-lock-"));
afterAll(() => rmSync(base, { recursive: true }));
const newFolder = () => mkdtempSync(join(base, "f-"));

it("is for one at a time, and leaves nothing", async () => {
  const folder = newFolder();
  const release = await lockFolder(folder);
  await expect(lockFolder(folder)).rejects.toThrow(
    `${folder} is in use by another process (${process.pid} on ${hostname()})`,
  );
  await release();
  expect(readdirSync(folder)).toEqual([]);
  await (await lockFolder(folder))();
});

it("of a process that was killed is taken over at once; of another machine when it is old", async () => {
  const { pid } = spawnSync(process.execPath, ["-e", ""]);
  for (const owner of [
    { host: hostname(), pid },
    { host: "elsewhere", pid: process.pid },
  ]) {
    const folder = newFolder();
    mkdirSync(join(folder, ".in-use.lock"));
    writeFileSync(join(folder, ".in-use"), JSON.stringify(owner));
    if (owner.host === "elsewhere") utimesSync(join(folder, ".in-use.lock"), 1e9, 1e9);
    const began = performance.now();
    const release = await lockFolder(folder);
    expect(performance.now() - began).toBeLessThan(5000);
    await release();
    expect(existsSync(join(folder, ".in-use.lock"))).toBe(false);
  }
});

it("says what is wrong with the folder", async () => {
  await expect(lockFolder(join(base, "nowhere"))).rejects.toThrow(/ENOENT|nowhere/);
});
