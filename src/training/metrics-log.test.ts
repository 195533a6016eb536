import {
  appendFileSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, it, vi } from "vitest";
import { MetricsLog, readMetrics, validationAt } from "./metrics-log.js";
import { removeDisk, tinyDisk } from "./testing/tiny-disk.js";

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  return { ...fs, fsyncSync: vi.fn(fs.fsyncSync), readSync: vi.fn(fs.readSync) };
});

const folder = mkdtempSync(join(tmpdir(), "metrics-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, "metrics.jsonl");
beforeEach(() => rmSync(path, { recursive: true, force: true }));

it("has every line at once, without being closed", async () => {
  const log = await MetricsLog.open(path, -1);
  log.append({ kind: "train", step: 1, loss: 9.25 });
  log.append({ kind: "valid", step: 1, loss: Number.NaN });
  expect(readFileSync(path, "utf8")).toBe(
    '{"kind":"train","step":1,"loss":9.25}\n{"kind":"valid","step":1,"loss":null}\n',
  );
  log.sync();
  log.close();
});

it("drops what came after the step a run resumes from, and a torn last line", async () => {
  writeFileSync(path, "");
  for (const step of [0, 10, 20, 30]) appendFileSync(path, `${JSON.stringify({ kind: "train", step })}\n`);
  appendFileSync(path, '{"kind":"train","st');
  const log = await MetricsLog.open(path, 20);
  log.append({ kind: "train", step: 30, again: true });
  log.close();
  expect(readMetrics(path)).toEqual([
    { kind: "train", step: 0 },
    { kind: "train", step: 10 },
    { kind: "train", step: 20 },
    { kind: "train", step: 30, again: true },
  ]);
});

it("a new run begins with none", async () => {
  expect(readMetrics(path)).toEqual([]);
  writeFileSync(path, '{"kind":"train","step":0}\n');
  (await MetricsLog.open(path, -1)).close();
  expect(readFileSync(path, "utf8")).toBe("");
});

it("reads and keeps a log piece by piece, wherever the pieces are cut", async () => {
  const records = [1, 2, 3, 4].map((step) => ({ kind: step % 2 ? "train" : "valid", step, note: "é日😀" }));
  const lines = records.map((record) => `${JSON.stringify(record)}\n`);
  const torn = Buffer.from(lines[3]).subarray(0, 30); // within a character
  for (const pieceBytes of [1, 2, 3, 7, 29, 47, 64, 89]) {
    writeFileSync(path, `${lines.slice(0, 3).join("")}no record\n\n`);
    appendFileSync(path, torn);
    vi.mocked(readSync).mockClear();
    expect(readMetrics(path, pieceBytes)).toEqual(records.slice(0, 3));
    const lengths = vi.mocked(readSync).mock.calls.map((call) => (call as unknown[])[3]);
    expect(lengths.length).toBeGreaterThan(2);
    expect(new Set(lengths)).toEqual(new Set([pieceBytes]));
    (await MetricsLog.open(path, 2, pieceBytes)).close();
    expect(readFileSync(path, "utf8")).toBe(lines.slice(0, 2).join(""));
  }
  // A last line that is whole but for its end.
  writeFileSync(path, lines.join("").slice(0, -1));
  expect(readMetrics(path, 10)).toEqual(records);
  expect(validationAt(path, 4)).toEqual(records[3]);
  expect(validationAt(path, 3)).toBeNull();
});

it("that cannot be read is a message", async () => {
  mkdirSync(path);
  expect(() => readMetrics(path)).toThrow(/Cannot read .*metrics.jsonl: it is a folder, not a file/);
  await expect(MetricsLog.open(path, 1)).rejects.toThrow(/Cannot read .*metrics.jsonl: it is a folder/);
});

it("a full disk that shows when lines are forced to it is a message too", async () => {
  const log = await MetricsLog.open(path, -1);
  vi.mocked(fsyncSync).mockImplementationOnce(() => {
    throw Object.assign(new Error("no space"), { code: "ENOSPC" });
  });
  expect(() => log.sync()).toThrow(/Cannot write .*metrics.jsonl: the disk is full/);
  log.close();
});

it("a full disk is a message; what was written before stays", async ({ skip }) => {
  const disk = join(folder, "disk");
  if (!tinyDisk(disk)) skip("mounting needs root");
  try {
    const log = await MetricsLog.open(join(disk, "metrics.jsonl"), -1);
    const line = { kind: "train", filler: "x".repeat(1000) };
    let step = 0;
    expect(() => {
      for (; step < 1000; step++) log.append({ ...line, step });
    }).toThrow(/Cannot write .*metrics.jsonl: the disk is full; free some space/);
    log.close();
    expect(readMetrics(join(disk, "metrics.jsonl")).map((record) => record.step)).toEqual([
      ...Array(step).keys(),
    ]);
    expect(step).toBeGreaterThan(40);
  } finally {
    removeDisk(disk);
  }
});
