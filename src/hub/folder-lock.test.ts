import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it, vi } from "vitest";
import { UserError } from "../errors.js";
import { lockBeside, lockFolder } from "./folder-lock.js";

const base = mkdtempSync(join(tmpdir(), "folder-lock-"));
afterAll(() => rmSync(base, { recursive: true }));
/** What a lock of this process says of its owner. */
async function ownOwner() {
  const folder = newFolder();
  const lock = await lockFolder(folder);
  const owner = JSON.parse(readFileSync(join(folder, ".in-use"), "utf8"));
  await lock.release();
  return owner;
}
const newFolder = () => mkdtempSync(join(base, "f-"));

it("is for one at a time, and leaves nothing", async () => {
  const folder = newFolder();
  const first = await lockFolder(folder);
  await expect(lockFolder(folder)).rejects.toThrow(
    `${folder} is in use by another process (${process.pid} on ${hostname()})`,
  );
  first.check();
  expect(first.held()).toBe(true);
  await first.release();
  expect(readdirSync(folder)).toEqual([]);
  await (await lockFolder(folder)).release();
  const second = await lockFolder(folder);
  await first.release(); // once more: it is another's now
  expect(readdirSync(folder)).toEqual([".in-use", ".in-use.lock"]);
  expect([first.held(), second.held()]).toEqual([false, true]);
  await second.release();
});

it("that another has taken is no longer held: it says so before a write, and leaves what is the other's", async () => {
  const folder = newFolder();
  const first = await lockFolder(folder);
  // As another machine's, which has ended without a word.
  writeFileSync(join(folder, ".in-use"), JSON.stringify({ ...(await ownOwner()), host: "elsewhere" }));
  utimesSync(join(folder, ".in-use.lock"), 1e9, 1e9);
  expect(first.held()).toBe(false);
  const second = await lockFolder(folder);
  expect([first.held(), second.held()]).toEqual([false, true]);
  expect(() => first.check()).toThrow(UserError);
  expect(() => first.check()).toThrow(`${folder} has been taken by another process`);
  await first.release(); // some ten seconds: the library has to notice
  expect(readdirSync(folder)).toEqual([".in-use", ".in-use.lock"]);
  expect(second.held()).toBe(true);
  await second.release();
  expect(readdirSync(folder)).toEqual([]);
});

it("whose renewal fails is no longer held: it says so, and blames no other process", async () => {
  const folder = newFolder();
  const lock = await lockFolder(folder);
  rmSync(join(folder, ".in-use.lock"), { recursive: true });
  await vi.waitUntil(() => !lock.held(), { timeout: 30_000, interval: 200 }); // some ten seconds: when it is renewed
  expect(() => lock.check()).toThrow(
    `The lock of ${folder} (${join(folder, ".in-use.lock")}) was removed, or could not`,
  );
  await lock.release();
}, 40_000);

it("that is gone is no longer held; one whose file cannot be read, or is being looked at, still is", async () => {
  const folder = newFolder();
  const lock = await lockFolder(folder);
  const [path, away] = [join(folder, ".in-use"), join(folder, "away")];
  renameSync(path, away);
  lock.check();
  renameSync(`${path}.lock`, `${away}.lock`);
  expect(() => lock.check()).toThrow(`${path} is gone: it was removed, or another process took ${folder}`);
  renameSync(`${away}.lock`, `${path}.lock`);
  mkdirSync(path);
  lock.check();
  rmdirSync(path);
  renameSync(away, path);
  await lock.release();
  expect(readdirSync(folder)).toEqual([]);
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
    // This machine before it was started again, when a process had this number too.
    [{ ...self, space: `${self.space}`.replace(/ .*/, " another start") }, "old"],
    [self, "none"],
  ];
  for (const [owner, state] of left) {
    const folder = newFolder();
    writeFileSync(join(folder, ".in-use"), JSON.stringify(owner));
    if (state !== "none") mkdirSync(join(folder, ".in-use.lock"));
    if (state === "old") utimesSync(join(folder, ".in-use.lock"), 1e9, 1e9);
    const lock = await lockFolder(folder);
    await lock.release();
    expect(readdirSync(folder)).toEqual([]);
  }
});

it.skipIf(process.platform !== "linux")(
  "of a process whose number another user's has now is taken over at once; of another user's that goes on, not",
  async () => {
    const self = await ownOwner();
    const kill = vi.spyOn(process, "kill").mockImplementation(() => {
      throw Object.assign(new Error("EPERM"), { code: "EPERM" });
    });
    const take = (owner: object) => {
      const folder = newFolder();
      writeFileSync(join(folder, ".in-use"), JSON.stringify(owner));
      mkdirSync(join(folder, ".in-use.lock"));
      return lockFolder(folder);
    };
    const lock = await take({ ...self, began: "1" });
    await lock.release();
    await expect(take(self)).rejects.toThrow("is in use by another process");
    kill.mockRestore();
  },
);

it("left behind is taken over by one of those who find it", async () => {
  const self = await ownOwner();
  const { pid } = spawnSync(process.execPath, ["-e", ""]);
  const folder = newFolder();
  writeFileSync(join(folder, ".in-use"), JSON.stringify({ ...self, pid }));
  mkdirSync(join(folder, ".in-use.lock"));
  const outcomes = await Promise.allSettled([1, 2, 3].map(() => lockFolder(folder)));
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
});

it("beside a folder is waited for, and does not mind that the folder is made anew", async () => {
  const folder = join(newFolder(), "run");
  const none = { onWait: () => expect.unreachable() };
  const first = await lockBeside(folder, none);
  mkdirSync(folder);
  rmSync(folder, { recursive: true });
  expect(first.held()).toBe(true);
  let waited = 0;
  const controller = new AbortController();
  const onWait = () => {
    waited++;
    controller.abort(new Error("stop"));
  };
  await expect(lockBeside(folder, { signal: controller.signal, onWait })).rejects.toThrow("stop");
  expect(waited).toBe(1);
  const second = lockBeside(folder, { onWait: () => void (waited++ === 8 && first.release()) });
  expect((await second).held()).toBe(true); // later than one that does not wait gives up
  expect(waited).toBeGreaterThan(8);
  await (await second).release();
  expect(readdirSync(join(folder, ".."))).toEqual([]);
});

it("beside a folder, of a process that was killed, is taken over at once", async () => {
  const folder = newFolder();
  const { pid } = spawnSync(process.execPath, ["-e", ""]);
  writeFileSync(`${folder}.in-use`, JSON.stringify({ ...(await ownOwner()), pid }));
  mkdirSync(`${folder}.in-use.lock`);
  const lock = await lockBeside(folder, { onWait: () => expect.unreachable() });
  await lock.release();
  expect(readdirSync(base).filter((name) => name.includes("in-use"))).toEqual([]);
});

it.skipIf(process.platform !== "linux")("names the start of the machine in its owner", async () => {
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  expect((await ownOwner()).space).toBe(`${readlinkSync("/proc/self/ns/pid")} ${boot}`);
});

it("is given back without a word where its file cannot be removed", async () => {
  const folder = newFolder();
  const lock = await lockFolder(folder);
  const path = join(folder, ".in-use");
  rmSync(path);
  mkdirSync(join(path, "full"), { recursive: true }); // what is not a file cannot be removed as one, nor be read
  expect(lock.held()).toBe(true);
  await lock.release();
  expect(readdirSync(folder)).toEqual([".in-use"]);
});

it("says what is wrong with the folder", async () => {
  await expect(lockFolder(join(base, "nowhere"))).rejects.toThrow(/ENOENT|nowhere/);
});
