import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { lockFolder } from "./folder-lock.js";

const base = mkdtempSync(join(tmpdir(), "folder-lock-"));
afterAll(() => rmSync(base, { recursive: true }));
/** What a lock of this process says of its owner. */
async function ownOwner() {
  const folder = newFolder();
  const release = await lockFolder(folder);
  const owner = JSON.parse(readFileSync(join(folder, ".in-use"), "utf8"));
  await release();
  return owner;
}
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
  const second = await lockFolder(folder);
  await release(); // once more: it is another's now
  expect(readdirSync(folder)).toEqual([".in-use", ".in-use.lock"]);
  await second();
});

it("of a process that was killed is taken over at once; of another machine when it is old", async () => {
  const self = await ownOwner();
  const { pid } = spawnSync(process.execPath, ["-e", ""]);
  const left: [owner: object, lock: "fresh" | "old" | "none"][] = [
    [{ ...self, pid }, "fresh"],
    // Its number has been given to another process: ours, after a restart.
    ...(self.began === null ? [] : ([[{ ...self, began: "1" }, "fresh"]] as [object, "fresh"][])),
    [{ ...self, host: "elsewhere" }, "old"],
    [{ ...self, space: "another container" }, "old"],
    [self, "none"],
  ];
  for (const [owner, state] of left) {
    const folder = newFolder();
    writeFileSync(join(folder, ".in-use"), JSON.stringify(owner));
    if (state !== "none") mkdirSync(join(folder, ".in-use.lock"));
    if (state === "old") utimesSync(join(folder, ".in-use.lock"), 1e9, 1e9);
    const release = await lockFolder(folder);
    await release();
    expect(readdirSync(folder)).toEqual([]);
  }
});

it("left behind is taken over by one of those who find it", async () => {
  const self = await ownOwner();
  const { pid } = spawnSync(process.execPath, ["-e", ""]);
  const folder = newFolder();
  writeFileSync(join(folder, ".in-use"), JSON.stringify({ ...self, pid }));
  mkdirSync(join(folder, ".in-use.lock"));
  const outcomes = await Promise.allSettled([1, 2, 3].map(() => lockFolder(folder)));
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
});

it("says what is wrong with the folder", async () => {
  await expect(lockFolder(join(base, "nowhere"))).rejects.toThrow(/ENOENT|nowhere/);
});
