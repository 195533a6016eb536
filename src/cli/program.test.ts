import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Command } from "commander";
import { afterAll, describe, expect, it } from "vitest";
import { quickOptions } from "../evaluation/suite/index.js";
import { ownScript } from "../runtime/own-script.js";
import { version } from "../version.js";
import { generationOverrides, trainingOverrides, worded } from "./options.js";
import { runCommandLine } from "./program.js";
import { memoryStream, memoryTerminal } from "./testing/memory-terminal.js";

const folder = mkdtempSync(join(tmpdir(), "cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function run(...args: string[]) {
  const terminal = memoryTerminal();
  const code = await runCommandLine(args, terminal);
  return { code, out: terminal.stdout.text, err: terminal.stderr.text };
}

describe("the command line", () => {
  it("answers --version and --help on standard output", async () => {
    expect(await run("--version")).toEqual({ code: 0, out: `${version}\n`, err: "" });
    const help = await run("tokenizer", "train", "--help");
    expect(help).toMatchObject({ code: 0, err: "" });
    expect(help.out).toContain("--vocab-size <n>");
  });

  it("tells the defaults of suites", async () => {
    const text = async (name: string) => (await run(name, "--help")).out.replaceAll(/\s+/g, " ");
    const { items, minutes, pairs, steps } = quickOptions;
    for (const help of [await text("evaluate"), await text("claims")])
      for (const part of [
        `(default: 50, quick: ${items})`,
        `(default: 20000, quick: ${pairs})`,
        `(default: 5, quick: ${minutes})`,
        `32, quick: ${steps})`,
        "one folder, of NAME.train.jsonl and NAME.valid.jsonl",
      ])
        expect(help).toContain(part);
    expect(await text("claims")).toContain("(default: 512,2048,8192; quick: 256,1024)");
    expect(await text("generate")).toContain("confidence-threshold or left-to-right");
  });

  it("takes several paths after one flag, and several flags", async () => {
    const program = new Command().addOption(worded("data", ""));
    const { data } = program.parse(["--data", "a", "b", "--data", "c"], { from: "user" }).opts();
    expect(data).toEqual(["a", "b", "c"]);
  });

  it("is shown as wide as always on a terminal that does not know its width", async () => {
    const help = async (columns?: number) => {
      const terminal = { stdout: memoryStream({ columns }), stderr: memoryStream({ columns }) };
      await runCommandLine(["--help"], terminal);
      return terminal.stdout.text;
    };
    expect(await help(0)).toBe(await help());
  });

  it("without a command shows what there is, as wrong usage", async () => {
    expect(await run()).toMatchObject({ code: 2, out: "", err: expect.stringContaining("Commands:") });
  });

  it.each([
    [["confg"], "(Did you mean config?)"],
    [["config", "--prest", "masked"], "(Did you mean --preset?)"],
    [["config", "masked"], "too many arguments"],
    [["tokenizer", "train"], "required option '--out <dir>' not specified"],
    [["tokenizer", "train", "--out", "x", "--vocab-size", "1e3x"], "Expected a whole number of at least 1."],
    [
      ["bench", "--threads", "100000"],
      `to ${4 * availableParallelism()}, four threads for each of the ${availableParallelism()} cores`,
    ],
    [["config", "--list", "--preset", "masked"], "--preset says nothing beside --list"],
    [["train", "--out", "x", "--fallback"], "--fallback chooses what a run goes on from: give --resume"],
    [["bench", "--lengths", ","], "argument ',' is invalid. Expected at least one"],
    [["claims", "--quick", "--suites", ","], "argument ',' is invalid. Expected at least one"],
    [["task", "copy", "--out", "x", "--first", " "], "Expected a whole number of at least 0."],
    [["task", "copy", "--out", "x", "--documents", "0"], "Expected a whole number of at least 1."],
    [["tokenizer", "train", "--out", "x", "--on-bad-record", "skp"], "Allowed choices are stop, skip"],
    ...[
      ["train", "--out <dir>"],
      ["train", "--config <file>"],
      ["train", "--tokenizer <path>"],
      ["train", "--data <path...>"],
      ["evaluate", "--valid <path...>"],
      ["evaluate", "--report <file.json>"],
      ["evaluate", "--out <dir>"],
      ["generate", "--model <dir>"],
      ["generate", "--infill <file>"],
      ["prepare", "--out <dir>"],
      ["inspect", "--picture <file.svg>"],
      ["bench", "--python <path>"],
      ["tokenizer train", "--out <dir>"],
      ["task copy", "--out <file.jsonl>"],
    ].map(([name, option]): [string[], string] => [
      [...name.split(" "), option.split(" ")[0], ""],
      `option '${option}' argument '' is invalid. Expected a path, got none`,
    ]),
    [["prepare", "--out", "x", "--data", "a", ""], "option '--data <path...>' argument '' is invalid"],
  ])("%j is wrong usage", async (args, message) => {
    const { code, out, err } = await run(...args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(message);
  });

  it("prints a user's mistake as a message, without a stack trace", async () => {
    expect(await run("config", "--set", "model.numLayer=6")).toEqual({
      code: 1,
      out: "",
      err: '--set: unknown key "model.numLayer"; did you mean "model.numLayers"?\n',
    });
  });

  it("names no flag that the command lacks", async () => {
    const { code, err } = await run(
      "tokenizer",
      "train",
      "--vocab-size",
      "100",
      "--out",
      join(folder, "small"),
    );
    expect(code).toBe(1);
    expect(err).toMatch(/at least 259 .*, got 100; give another, 8192 say\n$/);
  });

  it("shows configurations", async () => {
    const { out } = await run(
      "config",
      "--preset",
      "masked",
      "--set",
      "model.numLayers=6",
      "--set",
      "training.seed=3",
      "--json",
    );
    expect(out.trimEnd()).not.toContain("\n");
    expect(JSON.parse(out)).toMatchObject({
      preset: "masked",
      model: { numLayers: 6 },
      training: { seed: 3 },
    });
    expect((await run("config", "--list")).out).toContain("model.attention.window (integer; 128)");
  });

  it("turns flags into settings, and leaves out what was not given", () => {
    expect(trainingOverrides({ maxSteps: 5, data: ["a"], json: true })).toEqual({
      training: { maxSteps: 5 },
      data: { train: ["a"] },
    });
    expect(generationOverrides({ seed: 3, topP: 0.5 })).toEqual({ generation: { seed: 3, topP: 0.5 } });
    const solver = { sampler: "dpm-solver++", order: 3, timeGrid: "log-snr" };
    expect(generationOverrides(solver)).toEqual({ generation: solver });
    const control = { guidance: 2, candidates: 4, select: "mbr", repetitionPenalty: 1.2 };
    expect(generationOverrides(control)).toEqual({ generation: control });
  });
});

describe("tokenizer train", () => {
  it("writes a vocabulary, counts broken lines, and keeps standard output to one JSON object", async () => {
    const data = join(folder, "a.jsonl");
    const words = Array.from({ length: 50 }, (_, i) => `some${i}word and other${i * i}words`).join(" ");
    writeFileSync(
      data,
      `${JSON.stringify({ text: words })}\n{broken\n${JSON.stringify({ src: words, trg: "x" })}\n`,
    );
    const out = join(folder, "tokenizer");
    const args = ["tokenizer", "train", "--data", data, "--vocab-size", "280", "--out", out, "--json"];
    const stopped = await run(...args);
    expect(stopped).toMatchObject({ code: 1, out: "", err: expect.stringContaining("a.jsonl:2") });
    const done = await run(...args, "--on-bad-record", "skip");
    expect(done).toMatchObject({ code: 0 });
    expect(JSON.parse(done.out)).toMatchObject({ vocabSize: 280, documents: 2, skippedRecords: 1 });
    expect(existsSync(join(out, "tokenizer.json"))).toBe(true);
  });
});

describe("what cannot be written", () => {
  it("is said before the work", async () => {
    const file = join(folder, "a-file");
    writeFileSync(file, "");
    const beside = join(file, "b.md");
    const cases: [string[], string][] = [
      [["tokenizer", "train", "--out", file], `${file} is a file, not a folder.\n`],
      [["task", "copy", "--out", folder], "not a file; write somewhere else with --out.\n"],
      [["claims", "--quick", "--out", folder, "--markdown", beside], `${file} is a file, not a folder.\n`],
      [["evaluate", "--suite", "addresses", "--quick", "--out", file], `a part of the path is a file`],
    ];
    for (const [args, message] of cases) {
      const { code, out, err } = await run(...args);
      expect({ code, out }).toEqual({ code: 1, out: "" });
      expect(err).toContain(message);
      expect(err).not.toMatch(/fault of the program|reading the pairs|merging/);
    }
  });
});

describe("the executable", () => {
  const main = ownScript(import.meta.url, "main");

  it("exits with the code", async () => {
    const failure = await promisify(execFile)(process.execPath, [...main, "config", "--preset", "x"]).catch(
      (error: { code: number; stderr: string }) => error,
    );
    expect(failure).toMatchObject({ code: 1, stderr: expect.stringContaining('There is no preset "x"') });
    expect(failure.stderr).not.toContain("    at ");
  });

  it("ends quietly when its reader has seen enough", async () => {
    const child = spawn(process.execPath, [...main, "config", "--list"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.destroy();
    let err = "";
    child.stderr.on("data", (chunk) => {
      err += chunk;
    });
    const [code] = await once(child, "close");
    expect({ code, err }).toEqual({ code: 0, err: "" });
  });

  it.runIf(existsSync("/dev/full"))("says that its result could not be written", async () => {
    const full = openSync("/dev/full", "w");
    const child = spawn(process.execPath, [...main, "config", "--list"], { stdio: ["ignore", full, "pipe"] });
    closeSync(full);
    let err = "";
    child.stderr!.on("data", (chunk) => {
      err += chunk;
    });
    const [code] = await once(child, "close");
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringContaining("Cannot write to standard output: ENOSPC"),
    });
  });

  it("goes on and saves when nobody listens any more", async () => {
    const data = join(folder, "unheard.txt");
    writeFileSync(data, "some words and other words of some text");
    const out = join(folder, "unheard");
    const args = [...main, "tokenizer", "train", "--data", data, "--vocab-size", "260", "--out", out];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
    child.stderr!.destroy();
    expect(await once(child, "close")).toEqual([0, null]);
    expect(existsSync(join(out, "tokenizer.json"))).toBe(true);
  });
});
