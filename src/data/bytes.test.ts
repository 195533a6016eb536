import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { fileLines } from "./bytes.js";

const folder = mkdtempSync(join(tmpdir(), "bytes-"));
afterAll(() => rmSync(folder, { recursive: true }));

it.each([7, 300_000])(
  "a line of more than %i bytes is one that is too long; those after it are read",
  async (most) => {
    const path = join(folder, "lines.txt");
    const [fits, long] = ["x".repeat(most), "y".repeat(3 * most + 1)];
    writeFileSync(path, ["a", long, fits, "", `${fits}z`, "b", long].join("\n"));
    const lines = [];
    for await (const line of fileLines(path, undefined, most)) lines.push(line);
    const tooLong = expect.stringContaining(`a line of more than ${most} bytes`);
    expect(lines).toEqual([
      { line: 1, text: "a" },
      { line: 2, got: tooLong },
      { line: 3, text: fits },
      { line: 4, text: "" },
      { line: 5, got: tooLong },
      { line: 6, text: "b" },
      { line: 7, got: tooLong },
    ]);
  },
);
