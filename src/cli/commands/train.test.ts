import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, it, vi } from "vitest";
import { ownScript } from "../../runtime/own-script.js";
import { readMetrics } from "../../training/metrics-log.js";
import { tinyRunConfig, writeCorpus } from "../../training/testing/tiny-run.js";
import { runCommandLine } from "../program.js";
import { memoryTerminal } from "../testing/memory-terminal.js";
import { whereOf } from "./train.js";

const folder = mkdtempSync(join(tmpdir(), "cli-train-"));
afterAll(() => rmSync(folder, { recursive: true }));
const config = join(folder, "tiny.json");
writeFileSync(config, JSON.stringify(tinyRunConfig(writeCorpus(folder), "masked")));

async function run(...args: string[]) {
  const terminal = memoryTerminal();
  const code = await runCommandLine(["train", "--threads", "1", ...args], terminal);
  return { code, out: terminal.stdout.text, err: terminal.stderr.text };
}

it("trains, tells, resumes with a larger budget, and refuses other settings", async () => {
  const out = join(folder, "run");
  const first = await run("--config", config, "--out", out, "--max-steps", "4", "--profile", "--json");
  expect(first.code).toBe(0);
  const profile = readFileSync(join(out, "profile.txt"), "utf8");
  expect(first.err).toContain(profile);
  expect(profile).toMatch(/1 thread: \d+ ms for loss and gradients[\s\S]* layers\/attention\n/);
  expect(readFileSync(join(out, "profile.svg"), "utf8")).toContain("layers/attention");
  expect(first.err).toContain("parameters; ");
  expect(first.err).toMatch(/step 4 {2}validation: loss .* bits per byte/);
  expect(JSON.parse(first.out)).toMatchObject({ out, steps: 4, interrupted: false, resume: null });

  const again = await run("--config", config, "--out", out);
  expect(again).toMatchObject({
    code: 1,
    out: "",
    err: expect.stringContaining("Pass --resume to continue"),
  });

  const resumed = await run("--resume", "--out", out, "--max-steps", "6");
  expect(resumed.code).toBe(0);
  expect(resumed.err).toContain("continuing from step 4");
  expect(resumed.out).toContain(`Trained 6 steps`);
  const steps = readMetrics(join(out, "metrics.jsonl")).filter((line) => line.kind === "train");
  expect(steps.map((line) => line.step)).toEqual([1, 2, 3, 4, 5, 6]);

  const config6 = readFileSync(join(out, "config.json"), "utf8");
  const spent = await run("--resume", "--out", out, "--max-minutes", "0.0001");
  expect(spent).toMatchObject({ code: 1, out: "", err: expect.stringContaining("Give a larger --max-") });
  expect(readFileSync(join(out, "config.json"), "utf8")).toBe(config6);
  const over = await run("--resume", "--out", out);
  expect(over).toMatchObject({ code: 0, out: expect.stringContaining("so no step was taken. To train on,") });
  expect(resumed.out).not.toContain("no step was taken");

  const terminal = memoryTerminal();
  expect(await runCommandLine(["tokenizer", "train", "--out", out], terminal)).toBe(1);
  expect(terminal.stderr.text).toContain("holds a run, whose files count on the vocabulary it has");

  const other = await run("--resume", "--out", out, "--set", "model.numLayers=2");
  expect(other).toMatchObject({ code: 1, err: expect.stringContaining("these differ: model.numLayers") });
});

it("says of a profile that there is no place for it, and leaves nothing", async () => {
  const out = join(folder, "no-place");
  vi.stubEnv("TMPDIR", join(folder, "gone"));
  const profiled = await run("--config", config, "--out", out, "--max-steps", "1", "--profile");
  vi.unstubAllEnvs();
  expect(profiled).toMatchObject({
    code: 1,
    err: expect.stringContaining(
      `Cannot make a temporary folder in ${join(folder, "gone")}: there is no such folder. Set TMPDIR to a folder that may be written`,
    ),
  });
  expect(profiled.err).not.toContain("fault of the program");
  expect(existsSync(out)).toBe(false);
});

it("says how many documents were not filled up with [PAD]", async () => {
  const set = ["--set", "data.padTargets=10", "--max-steps", "1"];
  const { err } = await run("--config", config, "--out", join(folder, "padded"), ...set);
  expect(err).toMatch(
    /tokens of .*, \d+ documents longer than data.padTargets and so not filled up with \[PAD\]/,
  );
});

it("tells of as many threads as a rank has when it is not told", () => {
  vi.stubEnv("OMPI_COMM_WORLD_LOCAL_SIZE", "100000");
  expect(whereOf()).toBe("1 thread");
  vi.unstubAllEnvs();
  expect(whereOf("cpu", 3)).toBe("3 threads");
});

it("says what is missing", async () => {
  const nowhere = join(folder, "nowhere");
  expect((await run("--resume", "--out", nowhere)).err).toContain("is not the directory of a run");
  expect((await run("--config", config, "--out", nowhere, "--set", "training.maxSteps=null")).err).toContain(
    "needs a budget: pass --max-steps, --max-minutes or --max-tokens.",
  );
  const profiled = await run("--config", config, "--out", nowhere, "--device", "reference", "--profile");
  expect(profiled).toMatchObject({
    code: 1,
    err: expect.stringContaining("leave out --profile or --device"),
  });
  expect(existsSync(nowhere)).toBe(false);
});

it("SIGTERM (a scheduler, a shutdown) saves what is trained and prints the command that resumes, as Ctrl-C does", async () => {
  const out = join(folder, "terminated");
  const flags = ["--config", config, "--out", out, "--max-steps", "1000000", "--threads", "1"];
  const child = spawn(process.execPath, [...ownScript(import.meta.url, "../main"), "train", ...flags]);
  let stdout = "";
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk;
  });
  const metrics = join(out, "metrics.jsonl");
  while (readMetrics(metrics).length < 5) await sleep(20);
  child.kill("SIGTERM");
  const [code] = await once(child, "close");
  expect(code).toBe(143);
  expect(stdout).toContain(
    `Everything is saved. To continue:\n  npx moe-diffuseq train --resume --out ${out}`,
  );
  const steps = Number(/Stopped after (\d+) steps/.exec(stdout)?.[1]);
  expect(readdirSync(join(out, "checkpoints"))).toContain(`step-${String(steps).padStart(8, "0")}`);
  const resumed = await run("--resume", "--out", out, "--max-steps", String(steps + 2));
  expect(resumed.err).toContain(`continuing from step ${steps}`);
  expect(resumed.code).toBe(0);
});

it("stopped while it profiles, leaves nothing that the same command would refuse", async () => {
  const out = join(folder, "stopped");
  const flags = ["--config", config, "--out", out, "--max-steps", "2", "--threads", "1", "--profile"];
  const child = spawn(process.execPath, [...ownScript(import.meta.url, "../main"), "train", ...flags]);
  for await (const chunk of child.stderr.setEncoding("utf8"))
    if ((chunk as string).includes("parameters; ")) child.kill("SIGINT");
  expect(child.exitCode ?? (await once(child, "close"))[0]).toBe(130);
  expect(existsSync(out)).toBe(false);
  expect((await run(...flags)).code).toBe(0);
  expect(readdirSync(out)).toContain("profile.json");
});

it("refuses settings of generation that the model cannot have, before anything is written", async () => {
  const out = join(folder, "cannot");
  const asked = await run(
    "--config",
    config,
    "--out",
    out,
    "--max-steps",
    "1",
    "--set",
    "generation.sampler=ddim",
  );
  expect(asked).toMatchObject({
    code: 1,
    err: expect.stringMatching(/generation\.sampler: expected "absorbing"/),
  });
  expect(existsSync(out)).toBe(false);
});

it("does not pass over a setting that was edited beside config.json", async () => {
  const out = join(folder, "edited");
  expect((await run("--config", config, "--out", out, "--max-steps", "1")).code).toBe(0);
  const file = join(out, "generation_config.json");
  writeFileSync(file, JSON.stringify({ topK: 5 }));
  const asked = await run("--resume", "--out", out, "--max-steps", "2", "--set", "generation.topK=0");
  expect(asked).toMatchObject({
    code: 1,
    err: expect.stringMatching(/generation\.topK: .*edited to 5; change it there/),
  });
  const known = join(folder, "known.json");
  writeFileSync(known, JSON.stringify({ generation: { topK: 0 } }));
  const inFile = await run("--resume", "--out", out, "--max-steps", "2", "--config", known);
  expect(inFile).toMatchObject({ code: 1, err: expect.stringMatching(/there, or leave it out/) });
  // The last of several counts.
  const last = ["--config", known, "--set", "generation.topK=0", "--set", "generation.topK=3"];
  expect((await run("--resume", "--out", out, "--max-steps", "2", ...last)).code).toBe(0);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ topK: 3 });
  // What the model cannot have is refused in a resumed run too.
  const cannot = await run("--resume", "--out", out, "--max-steps", "3", "--set", "generation.sampler=ddim");
  expect(cannot).toMatchObject({
    code: 1,
    err: expect.stringMatching(/generation\.sampler: expected "absorbing"/),
  });
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ topK: 3 });
  // Nor is it taken beside what was edited to be impossible.
  writeFileSync(file, JSON.stringify({ sampler: "ddim" }));
  const beside = await run("--resume", "--out", out, "--max-steps", "3", "--set", "generation.topK=4");
  expect(beside.err).toMatch(/generation\.sampler: expected "absorbing"/);
});
