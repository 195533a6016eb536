import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { embeddedCorpus } from "../../data/index.js";
import { ownScript } from "../../runtime/own-script.js";
import { tinyRunConfig, writeCorpus } from "../../training/testing/tiny-run.js";
import { runCommandLine } from "../program.js";
import { memoryTerminal } from "../testing/memory-terminal.js";
import { prepareLine } from "./prepare.js";

const folder = mkdtempSync(join(tmpdir(), "cli-prepare-"));
afterAll(() => rmSync(folder, { recursive: true }));
const corpus = writeCorpus(folder);

async function run(...args: string[]) {
  const terminal = memoryTerminal();
  const code = await runCommandLine(args, terminal);
  return { code, out: terminal.stdout.text, err: terminal.stderr.text };
}

it("makes a cache, says what is in it, and trains and evaluates from it", async () => {
  const cache = join(folder, "cache");
  const args = ["prepare", "--data", corpus, "--valid", corpus, "--vocab-size", "320", "--threads", "1"];
  const first = await run(...args, "--out", cache, "--json");
  expect(first.code).toBe(0);
  expect(first.err).toContain("tokenizing");
  const summary = JSON.parse(first.out.trim().split("\n").at(-1)!);
  expect(summary).toMatchObject({ interrupted: false, vocabSize: 320, shardsWritten: 2 });
  expect(summary.train).toMatchObject({ documents: 24, shards: 1 });
  const again = await run(...args, "--out", cache);
  expect(again.out).toMatch(/24 documents, .* in 1 shard\n(.*\n)?Everything was there and whole./);

  const config = join(folder, "tiny.json");
  const { data: _, ...tiny } = tinyRunConfig(corpus, "masked");
  writeFileSync(config, JSON.stringify(tiny));
  const out = join(folder, "run");
  const trained = await run(
    "train",
    "--config",
    config,
    "--data",
    cache,
    "--out",
    out,
    "--max-steps",
    "2",
    "--threads",
    "1",
  );
  expect(trained.err).toContain(`tokens of ${cache}`);
  expect(trained.code).toBe(0);
  const evaluated = await run("evaluate", "--model", out, "--threads", "1", "--sequences", "2", "--json");
  expect(evaluated.code).toBe(0);
  expect(JSON.parse(evaluated.out).data.source).toContain(cache);
});

it("says what is missing", async () => {
  expect((await run("prepare", "--data", corpus, "--out", join(folder, "x"))).err).toContain("got neither");
  expect((await run("prepare", "--data", corpus, "--vocab-size", "300")).code).toBe(2);
});

it("Ctrl-C leaves what is finished and prints the command that continues, which does", async () => {
  const big = join(folder, "big.jsonl");
  const lines = embeddedCorpus().map(({ text }) => `${JSON.stringify({ text })}\n`);
  writeFileSync(big, lines.join(""));
  const out = join(folder, "stopped");
  const args = [
    ...ownScript(import.meta.url, "../main"),
    "prepare",
    "--data",
    big,
    "--vocab-size",
    "259",
    "--threads",
    "1",
    "--out",
    out,
  ];
  const child = spawn(process.execPath, args);
  let stdout = "";
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk;
  });
  while (!existsSync(join(out, "train-00000.tokens"))) await sleep(20);
  child.kill("SIGINT");
  const [code] = await once(child, "close");
  expect(code).toBe(130);
  const command = /To continue:\n {2}npx moe-diffuseq (.*)\n/.exec(stdout)?.[1];
  expect(command).toBe(`prepare --out ${out} --data ${big} --vocab-size 259 --threads 1`);
  const stopped = readdirSync(out).filter((name) => name.endsWith(".tokens")).length;
  const { out: text } = await run(...command!.split(" "), "--json");
  const summary = JSON.parse(text);
  expect(summary.train.documents).toBe(233);
  expect(summary.shardsWritten).toBe(summary.train.shards - stopped);
}, 120_000);

it("shows how far it is", () => {
  const progress = {
    what: "tokenizing",
    bytes: 42,
    totalBytes: 100,
    tokens: 3_210_000,
    textBytes: 12_300_000,
  } as const;
  expect(prepareLine(progress, 10)).toBe("tokenizing 42%  1.23 MB/s  3.21M tokens  14s left");
  expect(prepareLine({ ...progress, what: "checking", bytes: 0, tokens: 0 }, 10)).toBe("checking ...");
});
