import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ownScript } from "../../runtime/own-script.js";
import { tinyRunConfig, writeCorpus } from "../../training/testing/tiny-run.js";
import { runCommandLine } from "../program.js";
import { memoryTerminal } from "../testing/memory-terminal.js";

const folder = mkdtempSync(join(tmpdir(), "cli-evaluate-"));
afterAll(() => rmSync(folder, { recursive: true }));
const model = join(folder, "run");
let corpus: string;

async function run(...args: string[]) {
  const terminal = memoryTerminal();
  const code = await runCommandLine(args, terminal);
  return { code, out: terminal.stdout.text, err: terminal.stderr.text };
}
const evaluate = (...args: string[]) => run("evaluate", ...args);

beforeAll(async () => {
  corpus = writeCorpus(folder);
  const config = tinyRunConfig(corpus, "masked", { training: { maxSteps: 2 }, data: { gapRate: 0.5 } });
  writeFileSync(join(folder, "tiny.json"), JSON.stringify(config));
  await run("train", "--threads", "1", "--config", join(folder, "tiny.json"), "--out", model);
});

describe("evaluate", () => {
  it("refuses flags that would say nothing", async () => {
    const cases: [string[], string][] = [
      [
        ["--model", model, "--data", corpus],
        "--data is for a suite; the held-out texts of a run are given with --valid",
      ],
      [
        ["--model", model, "--max-minutes", "3"],
        "--max-minutes is for a suite (--suite), not for a trained run",
      ],
      [
        ["--model", model, "--temperature", "0.5"],
        "--temperature says how targets are written: give --accuracy with it",
      ],
      [["--model", model, "--set", "generation.topK=3"], "--set says how targets are written"],
      [["--model", model, "--accuracy", "2", "--set", "generation.num=3"], "writes one text for each source"],
      [
        ["--model", model, "--accuracy", "2", "--set", 'generation={"num":3}'],
        "--set generation.num: --accuracy writes one text for each source",
      ],
      [
        ["--model", model, "--accuracy", "2", "--set", " generation.topP=0.5"],
        "--set generation.topP is for tokens that are drawn, and at temperature 0 the likeliest are taken",
      ],
      [
        ["--model", model, "--accuracy", "2", "--set", "generation.sampler=ddim"],
        'generation.sampler: expected "absorbing" or "auto", got "ddim"',
      ],
      [["--suite", "addresses", "--model", model], "--model is for a trained run (--model), not for a suite"],
      [["--suite", "addresses", "--guidance", "2"], "--guidance is not for a suite"],
      [["--suite", "addresses", "--data", folder], "--data: addresses is embedded and reads no folder"],
    ];
    for (const [args, message] of cases) {
      const { code, err } = await evaluate(...args);
      expect(err).toContain(message);
      expect(code).not.toBe(0);
    }
  });

  it("says at once that its report cannot be written, and writes it where its folder is made", async () => {
    const taken = join(folder, "taken.json");
    mkdirSync(taken);
    const began = await evaluate("--model", model, "--report", taken);
    expect(began).toEqual({
      code: 1,
      out: "",
      err: `Cannot write ${taken}: what stands there is not a file; write somewhere else with --report.\n`,
    });
    const report = join(folder, "reports", "new", "a.json");
    const flags = ["--sequences", "2", "--no-baselines", "--threads", "1", "--report", report];
    expect((await evaluate("--model", model, ...flags)).code).toBe(0);
    expect(JSON.parse(readFileSync(report, "utf8"))).toMatchObject({ accuracy: null });
  });

  it("says at once that there are no pairs to write", async () => {
    const { code, err } = await evaluate("--model", model, "--accuracy", "3");
    expect(code).toBe(1);
    expect(err).toContain(
      '--accuracy needs held-out pairs {"src", "trg"}, and there are none among what the run',
    );
    expect((await evaluate("--model", model, "--accuracy", "3", "--valid", corpus)).err).toContain(
      `and there are none in ${corpus}: pass a file that has them, and that the run has not`,
    );
    expect((await evaluate("--model", model, "--accuracy", "3", "--set", "model.numLayers=1")).err).toContain(
      "only generation.* can be set here",
    );
  });

  it("writes the pairs that a run has held out of those it learned from", async () => {
    const pairs = join(folder, "own-pairs.jsonl");
    const lines = Array.from({ length: 20 }, (_, i) => JSON.stringify({ src: `one ${i}`, trg: `two ${i}` }));
    writeFileSync(pairs, lines.join("\n"));
    const config = tinyRunConfig(pairs, "masked", {
      training: { maxSteps: 1 },
      data: { validFraction: 0.1, tokenizer: join(model, "tokenizer.json") },
    });
    writeFileSync(join(folder, "pairs.json"), JSON.stringify(config));
    const own = join(folder, "of-pairs");
    await run("train", "--threads", "1", "--config", join(folder, "pairs.json"), "--out", own);
    const flags = ["--no-baselines", "--accuracy", "9", "--steps", "1", "--threads", "1", "--json"];
    const { out, err } = await evaluate("--model", own, ...flags);
    expect(err).not.toContain("needs");
    expect(JSON.parse(out).accuracy.pairs).toBe(2);
  });

  it("stops at broken lines, or skips them", async () => {
    const broken = join(folder, "broken.jsonl");
    writeFileSync(broken, '{broken\n{"src": "one two three", "trg": "four five six"}\n');
    const flags = ["--model", model, "--valid", broken, "--no-baselines", "--accuracy", "1", "--steps", "1"];
    const stopped = await evaluate(...flags, "--threads", "1");
    expect(stopped).toMatchObject({ code: 1, err: expect.stringContaining("pass --on-bad-record skip") });
    const skipped = await evaluate(...flags, "--threads", "1", "--on-bad-record", "skip", "--json");
    expect(skipped.code).toBe(0);
    expect(JSON.parse(skipped.out).accuracy).toMatchObject({ pairs: 1 });
  });

  it("shows what it has measured when it is stopped while it writes targets", async () => {
    const pairs = join(folder, "pairs.jsonl");
    writeFileSync(pairs, '{"src": "one two three", "trg": "four five six"}\n'.repeat(500));
    const report = join(folder, "stopped.json");
    const flags = [
      "--model",
      model,
      "--valid",
      pairs,
      "--sequences",
      "2",
      "--no-baselines",
      "--threads",
      "1",
    ];
    // More than anybody waits for.
    const targets = ["--accuracy", "500", "--steps", "1000", "--report", report];
    const main = ownScript(import.meta.url, "../main");
    const child = spawn(process.execPath, [...main, "evaluate", ...flags, ...targets]);
    let shown = "";
    child.stdout.on("data", (chunk: Buffer) => {
      shown += chunk;
    });
    const closed = once(child, "close");
    while (child.exitCode === null && !existsSync(report)) await sleep(20);
    child.kill("SIGINT");
    expect(await closed).toEqual([130, null]);
    const { loss } = JSON.parse(readFileSync(report, "utf8"));
    expect(shown).toContain(`Loss ${loss.loss.toFixed(4)}`);
  });

  it("learns its n-grams from whole texts, whatever parts of them training was given", async () => {
    const flags = ["--model", model, "--threads", "1", "--sequences", "4", "--json"];
    const { ngrams } = JSON.parse((await evaluate(...flags)).out);
    const whole = join(folder, "whole");
    const config = tinyRunConfig(corpus, "masked", { training: { maxSteps: 2 } });
    writeFileSync(join(folder, "whole.json"), JSON.stringify(config));
    await run("train", "--threads", "1", "--config", join(folder, "whole.json"), "--out", whole);
    const other = JSON.parse((await evaluate("--model", whole, ...flags.slice(2))).out).ngrams;
    for (const figure of ["trainTokens", "tokens", "unigram", "bigram", "trigram"])
      expect(ngrams[figure]).toEqual(other[figure]);
    expect(ngrams.trainTokens).toBeGreaterThan(100);
  });

  it("does not take what it learned from for held out: texts that have changed are named", async () => {
    appendFileSync(corpus, '{"text":"more"}\n');
    const { code, err } = await evaluate("--model", model, "--threads", "1", "--sequences", "2");
    expect(code).toBe(1);
    expect(err).toMatch(/has changed since the run began[\s\S]*give held-out texts with --valid/);
    const given = await evaluate("--model", model, "--threads", "1", "--sequences", "2", "--valid", corpus);
    expect(given.code).toBe(0);
    expect(given.out).toContain("No n-gram baselines, since the training texts are not there as they were");
  });
});
