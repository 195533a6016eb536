import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { Flags } from "../options.js";
import { runCommandLine } from "../program.js";
import { memoryTerminal } from "../testing/memory-terminal.js";
import { demoConfig } from "./demo.js";

const folder = mkdtempSync(join(tmpdir(), "cli-demo-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("what is set wins over the demo's own settings, and flags over both", () => {
  const set = ["generation.steps=4", "generation.length=64", "training.maxMinutes=1"];
  const { generation, training } = demoConfig({ set, steps: 5, seed: 7 });
  expect(generation).toMatchObject({ steps: 5, length: 64, seed: 7 });
  expect(training).toMatchObject({ maxMinutes: 1, maxSteps: null, seed: 7 });
  expect(demoConfig({}).generation).toMatchObject({ steps: 32, length: 1024 });
  expect(demoConfig({ maxSteps: 3 }).training).toMatchObject({ maxSteps: 3, maxMinutes: null });
});

it("a budget of steps or tokens is the whole budget, by a flag or a setting", () => {
  const budget = (...set: string[]) => demoConfig({ set }).training;
  expect(budget("training.maxSteps=9")).toMatchObject({ maxSteps: 9, maxMinutes: null });
  expect(budget('training={"maxTokens":9}')).toMatchObject({ maxTokens: 9, maxMinutes: null });
  expect(budget("training.maxSteps=null")).toMatchObject({ maxSteps: null, maxMinutes: 2 });
  expect(budget("training.maxSteps=9", "training.maxMinutes=1")).toMatchObject({
    maxSteps: 9,
    maxMinutes: 1,
  });
});

it("refuses what it decides itself, and what would say nothing", () => {
  const message = (flags: Flags) => {
    try {
      demoConfig(flags);
      return "";
    } catch (error) {
      return (error as Error).message;
    }
  };
  expect(message({ set: ["generation.candidates=4"] })).toBe(
    "--set generation.candidates: the demo decides this itself; give --candidates of generate instead.",
  );
  for (const setting of ["generation.num=2", 'generation={"blockLength":8}', 'data.train=["a.txt"]'])
    expect(message({ set: [setting] })).toContain("the demo decides this itself");
  expect(message({ preset: "autoregressive", steps: 8 })).toBe(
    "--steps is not for a left-to-right model, which writes a token a step; leave it out.",
  );
  expect(message({ preset: "autoregressive" })).toBe("");
  expect(message({ set: ["generation.contextLength=8"] })).toContain("is for texts in blocks");
});

it("tells its defaults", async () => {
  const terminal = memoryTerminal();
  expect(await runCommandLine(["demo", "--help"], terminal)).toBe(0);
  const help = terminal.stdout.text.replaceAll(/\s+/g, " ");
  for (const part of ["(default: runs/demo, ", "(default: 2; ", "(default: 1024)", "(default: 32)"])
    expect(help).toContain(part);
});

it("trains, writes a document, draws the report, names three commands; evaluate then works on the run", async () => {
  const out = join(folder, "run");
  const small = [
    "model.vocabSize=300",
    "model.hiddenSize=16",
    "model.embeddingSize=8",
    "model.numHeads=2",
    "model.numLayers=1",
    "model.attention.window=16",
    "model.attention.globalTokens=2",
    "model.experts.numExperts=3",
    "model.experts.intermediateSize=8",
    "training.sequenceLength=64",
    "training.evalSequences=2",
  ].flatMap((setting) => ["--set", setting]);
  const terminal = memoryTerminal();
  const args = [
    "demo",
    "--out",
    out,
    "--max-steps",
    "3",
    "--length",
    "40",
    "--steps",
    "4",
    "--threads",
    "1",
    ...small,
  ];
  expect(await runCommandLine(args, terminal)).toBe(0);
  const text = terminal.stdout.text;
  expect(text).toContain("Trained 3 steps");
  expect(text.match(/npx moe-diffuseq (generate|evaluate|train) /g)).toHaveLength(3);
  const report = readFileSync(join(out, "report.html"), "utf8");
  expect(report).toContain("<svg");
  expect(report).not.toMatch(/(src|href)="https?:/);

  const second = memoryTerminal();
  const evaluate = [
    "evaluate",
    "--model",
    out,
    "--threads",
    "1",
    "--sequences",
    "2",
    "--json",
    "--report",
    join(folder, "e.json"),
  ];
  expect(await runCommandLine(evaluate, second)).toBe(0);
  const result = JSON.parse(second.stdout.text);
  expect(result.levels.length).toBeGreaterThan(3);
  expect(result.ngrams).not.toBeNull();
  expect(result.accuracy).toBeNull();
  expect(existsSync(join(folder, "e.json"))).toBe(true);
});

it("evaluate says what it needs", async () => {
  const terminal = memoryTerminal();
  expect(await runCommandLine(["evaluate", "--model", join(folder, "none")], terminal)).toBe(1);
  expect(terminal.stderr.text).toMatch(/expected the directory of a trained run, found nothing there/);
  expect(await runCommandLine(["evaluate"], memoryTerminal())).toBe(2);
});

it("task writes pairs that differ with --first", async () => {
  const texts = [];
  for (const first of ["0", "500"]) {
    const out = join(folder, `copy-${first}.jsonl`);
    const args = ["task", "copy", "--out", out, "--documents", "3", "--words", "5", "--first", first];
    expect(await runCommandLine(args, memoryTerminal())).toBe(0);
    const lines = readFileSync(out, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    for (const { src, trg } of lines) expect(trg).toBe(src);
    texts.push(lines[0].src);
  }
  expect(texts[0]).not.toBe(texts[1]);
});
