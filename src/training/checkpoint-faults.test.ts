/** @file What becomes of checkpoints on a file system that refuses: nothing is lost, and the first error is the one that is told. */

import { readdirSync, truncateSync } from "node:fs";
import type * as fsPromises from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { UserError } from "../errors.js";
import { temporaryFolder } from "../hub/testing/temporary-folder.js";
import { latestCheckpoint, removeStaleCheckpoints, saveCheckpoint } from "./checkpoint.js";
import { MemoryStore } from "./testing/memory-store.js";

/** Calls that the pretended system refuses, as "call part-of-a-path": with this code. */
const refused = vi.hoisted(() => new Map<string, string>());

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof fsPromises>();
  const refusing = (call: "open" | "readFile" | "readdir" | "rename" | "rm" | "stat") => {
    const whole = real[call] as (path: string, ...more: unknown[]) => Promise<unknown>;
    return async (path: string, ...more: unknown[]) => {
      for (const [what, code] of refused) {
        const [name, part] = what.split(" ");
        if (name === call && path.includes(part))
          throw Object.assign(new Error(`${code}: refused`), { code });
      }
      return whole(path, ...more);
    };
  };
  const calls = ["open", "readFile", "readdir", "rename", "rm", "stat"] as const;
  return { ...real, ...Object.fromEntries(calls.map((call) => [call, refusing(call)])) };
});

let run = "";
let notices: string[] = [];
beforeEach(() => {
  run = temporaryFolder();
  notices = [];
});
afterEach(() => refused.clear());

const save = (step: number, keep = 2) =>
  saveCheckpoint(
    run,
    { step, tokens: step, seconds: step, seed: 7, row: step, timeSampler: {} },
    new MemoryStore(undefined, step),
    { keep, onNotice: (message) => notices.push(message) },
  );
const folders = () => readdirSync(join(run, "checkpoints")).sort();

it.each([
  ["stat step-00000020/model.safetensors", "EACCES", "permission denied"],
  ["stat step-00000020/ema.safetensors", "EIO", "the disk failed"],
  ["readFile step-00000020/state.json", "EMFILE", "this process has as many files open"],
  ["readFile step-00000020/state.json", "ESTALE", "the file server no longer knows the file"],
])("one that cannot be read now (%s, %s) is passed over by nobody", async (what, code, why) => {
  await save(10);
  const newest = await save(20);
  refused.set(what, code);
  for (const fallback of [false, true]) {
    const error = await latestCheckpoint(run, { fallback }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(UserError);
    const { message } = error as Error;
    expect(message).toMatch(new RegExp(`^Cannot read ${newest}/\\w+\\.\\w+: ${why}`));
    expect(message).toContain(`nothing is changed or removed; to leave it behind, move ${newest} away.`);
  }
  // Nor is it taken for a damaged one when its step comes again.
  await expect(save(20)).rejects.toThrow(UserError);
  expect(folders()).toEqual(["step-00000010", "step-00000020"]);
  refused.clear();
  expect((await latestCheckpoint(run))?.state.step).toBe(20);
});

it("an old one that cannot be removed does not end the run: it is told, and tried again", async () => {
  for (const step of [1, 2]) await save(step);
  refused.set("rename step-00000001", "EACCES");
  await save(3);
  expect(folders()).toEqual(["step-00000001", "step-00000002", "step-00000003"]);
  expect(notices).toEqual([
    `Cannot remove the old checkpoint ${join(run, "checkpoints", "step-00000001")}: permission denied. Newer ones are whole; ` +
      "it is tried again at the next.",
  ]);
  refused.clear();
  await save(4);
  expect(folders()).toEqual(["step-00000003", "step-00000004"]);

  refused.set("rm .tmp-removed", "EBUSY");
  await save(5);
  expect(notices[1]).toMatch(
    /^Cannot remove .*\.tmp-removed-.*: another program or the system is using it\./,
  );
  await removeStaleCheckpoints(run, (message) => notices.push(message));
  expect(notices).toHaveLength(3);
  refused.clear();
  await removeStaleCheckpoints(run);
  expect(folders()).toEqual(["step-00000004", "step-00000005"]);
});

it("a damaged one that cannot be removed once it is replaced does not end the run", async () => {
  truncateSync(join(await save(1), "model.safetensors"), 10);
  refused.set("rm .tmp-removed", "EBUSY");
  await save(1);
  expect(notices).toHaveLength(1);
  expect((await latestCheckpoint(run))?.state.step).toBe(1);
});

it("a clean-up that fails does not hide why a checkpoint was not written", async () => {
  const store = new MemoryStore();
  const read = store.read.bind(store);
  store.read = (slot) => {
    // Not before: the first removal is of what another process may have left.
    refused.set("open .tmp-step-00000002", "ENOSPC");
    refused.set("rm .tmp-step-00000002", "EIO");
    return read(slot);
  };
  const state = { step: 2, tokens: 2, seconds: 2, seed: 7, row: 2, timeSampler: {} };
  await expect(saveCheckpoint(run, state, store)).rejects.toThrow("step-00000002: the disk is full");
});
