import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { ownScript } from "../runtime/own-script.js";
import {
  latestCheckpoint,
  listCheckpoints,
  removeStaleCheckpoints,
  restoreCheckpoint,
  saveCheckpoint,
} from "./checkpoint.js";
import type { CheckpointState } from "./checkpoint-state.js";
import { MemoryStore } from "./testing/memory-store.js";
import { removeDisk, tinyDisk } from "./testing/tiny-disk.js";

const base = mkdtempSync(join(tmpdir(), "checkpoints-"));
afterAll(() => rmSync(base, { recursive: true }));

let run: string;
let runs = 0;
beforeEach(() => {
  run = join(base, `run-${runs++}`);
});

const stateAt = (step: number): CheckpointState => ({
  step,
  tokens: step * 4096,
  seconds: step / 3,
  seed: 7,
  row: step * 2,
  timeSampler: { losses: [[0.1, 1e-30], [2 / 3]], "10": null },
});
const save = (step: number, keep = 2) =>
  saveCheckpoint(run, stateAt(step), new MemoryStore(undefined, step), { keep });
const steps = async () => (await listCheckpoints(run)).map((entry) => entry.step);

async function fault(action: Promise<unknown>): Promise<string> {
  const error = await action.catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(UserError);
  return (error as Error).message;
}

describe("checkpoints", () => {
  it("give back state and tensors bit for bit", async () => {
    const folder = await save(12);
    expect(folder).toBe(join(run, "checkpoints", "step-00000012"));
    const checkpoint = await latestCheckpoint(run);
    expect(checkpoint).toEqual({ folder, state: stateAt(12) });
    const restored = new MemoryStore(undefined, 0);
    await restoreCheckpoint(folder, restored);
    expect(restored.slots).toEqual(new MemoryStore(undefined, 12).slots);
  });

  it("of older versions open: what they say of the router is left out", async () => {
    const path = join(await save(4), "state.json");
    const { state, files, ...manifest } = JSON.parse(readFileSync(path, "utf8"));
    const older = { ...state, router: {} };
    const sha256 = createHash("sha256")
      .update(JSON.stringify([older, files]))
      .digest("hex");
    writeFileSync(path, JSON.stringify({ ...manifest, sha256, files, state: older }));
    expect((await latestCheckpoint(run))?.state).toEqual(stateAt(4));
  });

  it("do without averages", async () => {
    await saveCheckpoint(run, stateAt(1), new MemoryStore(), { ema: false });
    const { folder } = (await latestCheckpoint(run))!;
    expect(existsSync(join(folder, "ema.safetensors"))).toBe(false);
    await restoreCheckpoint(folder, new MemoryStore(), { ema: false });
  });

  it("are none in a new run", async () => {
    expect(await latestCheckpoint(run)).toBeNull();
    await removeStaleCheckpoints(run);
  });

  it("keep the newest ones", async () => {
    for (const step of [5, 10, 100_000_000, 100_000_001]) await save(step, 3);
    expect(await steps()).toEqual([100_000_001, 100_000_000, 10]);
    await save(100_000_002, 1);
    expect(await steps()).toEqual([100_000_002]);
    expect(readdirSync(join(run, "checkpoints"))).toHaveLength(1);
  });

  it("keep no more when the process before was killed as it came to the old ones", async () => {
    for (const step of [10, 12, 14]) await save(step, 3);
    await save(14, 2);
    expect(await steps()).toEqual([14, 12]);
  });

  it("leave a whole one of the same step alone, and replace a damaged one", async () => {
    const folder = await save(3);
    const before = statSync(join(folder, "state.json")).mtimeMs;
    await save(3);
    expect(statSync(join(folder, "state.json")).mtimeMs).toBe(before);
    truncateSync(join(folder, "model.safetensors"), 10);
    await save(3);
    expect((await latestCheckpoint(run))?.state.step).toBe(3);
  });

  it("refuse another model's tensors, naming the first that does not fit", async () => {
    const folder = await save(1);
    const { specs } = new MemoryStore();
    const restore = (other: MemoryStore) => fault(restoreCheckpoint(folder, other));
    expect(await restore(new MemoryStore(specs.slice(1)))).toContain('it has a tensor "embeddings.weight"');
    const extra = [...specs, { name: "layers.1.bias", shape: [4], trainable: true }];
    expect(await restore(new MemoryStore(extra))).toContain('it lacks "layers.1.bias"');
    const wider = specs.map((spec) => (spec.name === "layers.0.bias" ? { ...spec, shape: [2, 2] } : spec));
    expect(await restore(new MemoryStore(wider))).toContain(
      '"layers.0.bias" has shape [4], the model wants [2,2]',
    );
  });
});

describe("damage", () => {
  const damages: [string, (folder: string) => void, string][] = [
    [
      "a file cut short",
      (f) => truncateSync(join(f, "optimizer.safetensors"), 100),
      "optimizer.safetensors has 100 bytes, expected",
    ],
    [
      "a flipped bit in the weights",
      (f) => flipBit(join(f, "model.safetensors")),
      "model.safetensors is not what was written",
    ],
    [
      "a flipped bit in the state",
      (f) => replace(join(f, "state.json"), '"step": 20', '"step": 21'),
      "state.json is not what was written",
    ],
    ["a missing tensor file", (f) => rmSync(join(f, "ema.safetensors")), "ema.safetensors is missing"],
    ["a missing state.json", (f) => rmSync(join(f, "state.json")), "state.json is missing"],
    [
      "a torn state.json",
      (f) => truncateSync(join(f, "state.json"), 50),
      "state.json cannot be read: it is not whole JSON",
    ],
    ["an empty state.json", (f) => truncateSync(join(f, "state.json"), 0), "state.json cannot be read"],
    [
      "a state.json of something else",
      (f) => writeFileSync(join(f, "state.json"), "null"),
      "state.json cannot be read",
    ],
    ["an empty folder", (f) => emptyFolder(f), "state.json is missing"],
  ];

  it.each(damages)("%s: is named, with the one before it to continue from", async (_, inflict, damage) => {
    await save(10);
    const newest = await save(20);
    inflict(newest);
    const message = await fault(latestCheckpoint(run));
    expect(message).toContain(`The newest checkpoint ${newest} is damaged: ${damage}`);
    expect(message).toContain("The one of step 10 is whole");
    expect(message).toContain("resume with --fallback");
    expect((await latestCheckpoint(run, { fallback: true }))?.state).toEqual(stateAt(10));
    // A run that continues from step 10 leaves the damaged one behind.
    await save(15);
    expect(await steps()).toEqual([15, 10]);
  });

  it("of every checkpoint: says so, with or without fallback", async () => {
    for (const step of [1, 2]) truncateSync(join(await save(step), "model.safetensors"), 9);
    for (const fallback of [false, true]) {
      const message = await fault(latestCheckpoint(run, { fallback }));
      expect(message).toContain("is whole");
      expect(message).toMatch(/step-00000002: model.*step-00000001: model/);
    }
  });

  it("by a kill while writing: what is left over is not a checkpoint, and is removed", async () => {
    const folder = await save(1);
    const leftOver = join(run, "checkpoints", ".tmp-step-00000002-1");
    cpSync(folder, leftOver, { recursive: true });
    expect((await latestCheckpoint(run))?.state.step).toBe(1);
    await removeStaleCheckpoints(run);
    expect(readdirSync(join(run, "checkpoints"))).toEqual(["step-00000001"]);
  });

  it("by kill -9 at any moment: a whole checkpoint is left, at most one behind", async () => {
    const script = ownScript(import.meta.url, "testing/save-forever");
    for (const wait of [0, 13, 37, 61]) {
      rmSync(run, { recursive: true, force: true });
      const child = spawn(process.execPath, [...script, run], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await once(child.stdout, "data");
      await sleep(wait);
      child.kill("SIGKILL");
      await once(child, "exit");
      const { state, folder } = (await latestCheckpoint(run))!;
      expect(state.row).toBe(state.step);
      const store = new MemoryStore([{ name: "weight", shape: [100_000], trainable: true }]);
      await restoreCheckpoint(folder, store);
      expect(store.slots.get("value")?.weight[0]).toBe(state.step);
      await removeStaleCheckpoints(run);
      expect(readdirSync(join(run, "checkpoints")).every((name) => name.startsWith("step-"))).toBe(true);
    }
  });
});

it("a full disk is a message; older checkpoints stay and nothing half-written does", async ({ skip }) => {
  if (!tinyDisk(run)) skip("mounting needs root");
  try {
    await save(1);
    const before = readFileSync(join(run, "checkpoints", "step-00000001", "state.json"), "utf8");
    const big = new MemoryStore([{ name: "weight", shape: [8000], trainable: true }]);
    const message = await fault(saveCheckpoint(run, stateAt(2), big));
    expect(message).toContain("step-00000002: the disk is full; free some space");
    expect(readdirSync(join(run, "checkpoints"))).toEqual(["step-00000001"]);
    expect(readFileSync(join(run, "checkpoints", "step-00000001", "state.json"), "utf8")).toBe(before);
    expect((await latestCheckpoint(run))?.state.step).toBe(1);
  } finally {
    removeDisk(run);
  }
});

function emptyFolder(path: string): void {
  rmSync(path, { recursive: true });
  mkdirSync(path);
}

function flipBit(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] ^= 1;
  writeFileSync(path, bytes);
}

function replace(path: string, from: string, to: string): void {
  const text = readFileSync(path, "utf8");
  expect(text).toContain(from);
  writeFileSync(path, text.replace(from, to));
}
