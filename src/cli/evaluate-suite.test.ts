/** @file `evaluate --suite` with twins side by side: trained by processes of their own, judged together. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SuiteReport } from "../evaluation/suite/index.js";
import { runCommandLine } from "./program.js";
import { memoryTerminal } from "./testing/memory-terminal.js";

describe("evaluate --suite --jobs", () => {
  let out: string;
  beforeAll(async () => {
    out = await mkdtemp(join(tmpdir(), "moe-diffuseq-side-by-side-"));
  });
  afterAll(() => rm(out, { recursive: true }));

  const evaluate = async (...more: string[]) => {
    const terminal = memoryTerminal();
    const budget = "--max-tokens 500 --pairs 12 --items 2 --steps 1 --threads 2 --json".split(" ");
    const flags = ["--suite", "addresses", "--quick", ...budget, "--out", out];
    const code = await runCommandLine(["evaluate", ...flags, ...more], terminal);
    return { code, said: terminal.stderr.text, shown: terminal.stdout.text };
  };

  it("trains in other processes what this one then takes over", async () => {
    const twins = ["--twins", "moe-diffuseq,autoregressive"];
    const { code, said, shown } = await evaluate("--jobs", "2", ...twins);
    expect([code, said]).toEqual([0, expect.stringContaining("of 2 done; ")]);
    const { tasks } = JSON.parse(shown.trim().split("\n").at(-1)!) as SuiteReport;
    expect(tasks[0].runs.map(({ twin }) => twin)).toEqual(["moe-diffuseq", "autoregressive"]);
    // All of it is there: a third call trains nothing, and finds the same.
    const again = await evaluate(...twins);
    expect(again.said).not.toMatch(/step \d/);
    expect(again.shown).toBe(shown);
  }, 120_000);

  it("passes on what is wrong", async () => {
    const { code, said } = await evaluate("--jobs", "2", "--set", "model.numHeads=7", "--twins", "masked");
    expect(code).toBe(1);
    expect(said).toMatch(/numHeads/);
  });
});
