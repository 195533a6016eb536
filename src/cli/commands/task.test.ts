/** @file `moe-diffuseq task`: files of any size, in pieces, and not at all when it is stopped. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { temporaryFolder } from "../../hub/testing/temporary-folder.js";
import { ownScript } from "../../runtime/own-script.js";

const folder = temporaryFolder();

it("Ctrl-C ends it within a piece, and leaves nothing behind", async () => {
  const out = join(folder, "stopped");
  mkdirSync(out);
  // Hours of work, and more than fits in memory.
  const task = ["task", "copy", "--documents", "2000000000", "--out", join(out, "copy.jsonl")];
  const child = spawn(process.execPath, [...ownScript(import.meta.url, "../main"), ...task]);
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk;
  });
  const closed = once(child, "close");
  const written = () => readdirSync(out).map((name) => statSync(join(out, name)).size);
  while (child.exitCode === null && !written().some((size) => size > 1e6)) await sleep(20);
  child.kill("SIGINT");
  expect(await closed).toEqual([130, null]);
  expect(said).toContain("Stopping ...");
  expect(readdirSync(out)).toEqual([]);
});
