/** @file Documents at the bound of what a string can hold, with a bound of a few characters in its place. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it, vi } from "vitest";
import { type ReadOptions, readDocuments } from "./documents.js";

vi.mock("./bytes.js", async (original) => ({ ...(await original<object>()), MAX_TEXT_BYTES: 100 }));

const root = mkdtempSync(join(tmpdir(), "long-documents-"));
afterAll(() => rmSync(root, { recursive: true }));

it("a folder of more text than one document may have is named, or counted and passed over", async () => {
  for (const name of ["long", "short"]) mkdirSync(join(root, name));
  for (const name of ["a.txt", "b.txt", "c.txt"]) writeFileSync(join(root, "long", name), "x".repeat(60));
  writeFileSync(join(root, "short", "a.txt"), "y".repeat(60));
  const read = async (options: ReadOptions) => {
    const reader = readDocuments([root], { documentPer: "folder", ...options });
    const sources = [];
    for await (const { source } of reader) sources.push(source);
    return { sources, skipped: reader.counts.skippedRecords };
  };
  await expect(read({})).rejects.toThrow(
    /long: expected at most 100 characters of text in a folder that is one document/,
  );
  expect(await read({ onBadRecord: "skip" })).toEqual({ sources: [join(root, "short")], skipped: 1 });
});
