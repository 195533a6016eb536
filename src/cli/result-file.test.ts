import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { requireResultFile } from "./result-file.js";

const folder = mkdtempSync(join(tmpdir(), "result-file-"));
afterAll(() => rmSync(folder, { recursive: true }));
const run = join(folder, "run");
mkdirSync(run);
writeFileSync(join(run, "config.json"), "{}");
const data = join(folder, "data.json");
writeFileSync(data, "{}");
symlinkSync(data, join(folder, "link.json"));

const json = { flag: "--report", ending: ".json" } as const;

it("takes a new name, and one that an earlier result has", async () => {
  const path = join(folder, "new", "a.json");
  await requireResultFile(path, json);
  writeFileSync(path, "{}");
  await requireResultFile(path, json);
  await requireResultFile(join(run, "report.json"), json);
  // No run is there.
  await requireResultFile(join(folder, "new", "tokenizer.json"), json);
});

it.each([
  [join(folder, "model.safetensors"), "--report expects a file name that ends in .json, got "],
  [join(run, "config.json"), `config.json is a file of the run in ${run}, and would be lost`],
  [join(run, "tokenizer.json"), "is a file of the run in"],
  [data, "data.json is read by this command, and would be lost"],
  [join(folder, "link.json"), "link.json is read by this command"],
  [folder, "expects a file name that ends in .json"],
])("refuses what would be lost, or is of another kind: %s", async (path, message) => {
  await expect(requireResultFile(path, { ...json, inputs: [join(folder, "none"), data] })).rejects.toThrow(
    message,
  );
});

it("refuses a place that cannot be written, with its flag", async () => {
  const path = join(folder, "folder.json");
  mkdirSync(path);
  await expect(requireResultFile(path, json)).rejects.toThrow("write somewhere else with --report");
});
