/** @file A miniature of the whole: sides run, twins train, and the table and the page say what was measured. Its figures mean nothing. */
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tasksOf } from "../evaluation/suite/index.js";
import { tinyBase } from "../evaluation/suite/testing/tiny-base.js";
import type { TwinName } from "../evaluation/suite/twins.js";
import { programId } from "../hub/program-id.js";
import { costOf } from "../model/cost.js";
import { type BenchOptions, runBench } from "./bench.js";
import { type ClaimsReport, claimsOf, runClaims } from "./claims.js";
import { claimsLines, claimsMarkdown, claimsPage } from "./claims-format.js";
import { formatBench } from "./format.js";
import { formatRecord } from "./record.js";

const { dependencies } = JSON.parse(readFileSync("package.json", "utf8"));

describe("runClaims", () => {
  const base = tinyBase();
  let out: string;
  let report: ClaimsReport;
  let bench: BenchOptions;
  beforeAll(async () => {
    out = await mkdtemp(join(tmpdir(), "moe-diffuseq-claims-"));
    // What a timed step and text do without is left out, whatever the settings are.
    const own = { model: { ...base.model, dropout: 0.1, selfConditioning: true } };
    const generation = { ...base.generation, blockLength: 4, candidates: 2 };
    bench = {
      base: { ...base, ...own, generation },
      twins: ["moe-diffuseq", "dense-active"],
      lengths: [32],
      tokens: 64,
      rounds: 2,
      samplingSteps: 2,
      ceilingSize: 256,
      threads: 1,
      peer: { python: null, missing: "none here" },
      variants: ["eager"],
      keep: join(out, "bench"),
    };
    report = await runClaims({
      quick: true,
      madeBy: programId(),
      commands: { bench: " --rounds 2", suite: " --pairs 8", data: " --data corpora" },
      bench,
      suite: {
        tasks: tasksOf("addresses").map((task) => ({ ...task, length: 40 })),
        base,
        twins: ["moe-diffuseq", "dense-active"],
        seeds: [1],
        budget: { tokens: 160 },
        out,
        pairs: 8,
        items: 2,
        steps: 1,
        qualitySteps: [1],
        threads: 1,
      },
    });
  }, 240_000);
  afterAll(() => rm(out, { recursive: true }));

  it("measures every side of every task, and relates all to the first twin", () => {
    const { rows, ratios, leftOut, record, ceiling } = report.bench;
    expect(rows.map(({ task, length, twin, side }) => `${task} ${length} ${twin} ${side}`)).toEqual([
      "training 32 moe-diffuseq ours",
      "training 32 dense-active ours",
      "sampling 32 moe-diffuseq ours",
      "sampling 32 dense-active ours",
    ]);
    for (const { milliseconds, tokens, spread, tokensPerSecond, peakBytes, shareOfCeiling, flops } of rows) {
      expect(milliseconds.map((round) => round.length)).toEqual([1, 1]);
      expect(tokensPerSecond).toBeCloseTo((1000 * tokens) / spread.median, 6);
      expect(peakBytes).toBeGreaterThan(1e7);
      expect(shareOfCeiling).toBeCloseTo(flops / spread.median / 1e6 / ceiling.median, 9);
    }
    // Learned globals are no text.
    expect(rows[0].tokens).toBe(64 - 2 * base.model.attention.globalTokens);
    const { flops } = costOf(base.model, { batchSize: 2, length: 32, ema: false });
    expect(rows[0].flops).toBe(flops.training);
    expect(ratios.map(({ task, side }) => `${task} ${side}`)).toEqual([
      "training dense-active, ours",
      "sampling dense-active, ours",
    ]);
    expect(leftOut).toEqual(["PyTorch: none here"]);
    expect(record.versions).toMatchObject({
      node: process.versions.node,
      "onnxruntime-node": dependencies["onnxruntime-node"],
    });
    expect(record.load).toHaveLength(4); // of two parts
    expect(formatRecord({ ...record, allocator: { LD_PRELOAD: "x.so" } })).toContain("; LD_PRELOAD=x.so; ");
    expect(formatBench(report.bench)).toContain("Left out: PyTorch: none here");
    expect(report.grown.config.model.experts.numExperts).toBe(4 * base.model.experts.numExperts);
    expect(report.grown.rows.map(({ twin }) => twin)).toEqual(["moe-diffuseq", "moe-diffuseq"]);
  });

  it("takes over what was measured under the same conditions, part by part", async () => {
    expect(report.bench.parts.map(({ task, length, reused }) => [task, length, reused])).toEqual([
      ["training", 32, false],
      ["sampling", 32, false],
    ]);
    // Whoever is stopped already can measure nothing.
    const stopped = { ...bench, signal: AbortSignal.abort() };
    const said: string[] = [];
    const again = await runBench({ ...stopped, onProgress: (what) => said.push(what) });
    const { record, parts } = report.bench;
    expect(again).toEqual({ ...report.bench, parts: parts.map((part) => ({ ...part, reused: true })) });
    expect(said).toEqual(
      parts.map(({ task, record: own }) => `${task}, length 32: measured ${own.date}, taken over`),
    );
    expect(formatBench(again)).toMatch(
      /taken over from an earlier call under the same conditions: training at 32 \(.*\), sampling at 32/,
    );
    expect(formatBench(report.bench)).not.toContain("taken over");
    expect(claimsMarkdown({ ...report, bench: again }, "")).toContain("taken over from an earlier call");
    expect(record.date).toBe(parts[0].record.date);
    // Other settings, another machine, a part that is not there, or half of one: measured anew.
    await expect(runBench({ ...stopped, rounds: 3 })).rejects.toThrow("aborted");
    await expect(runBench({ ...stopped, threads: 2 })).rejects.toThrow("aborted");
    for (const name of await readdir(bench.keep!))
      if (name.startsWith("sampling")) await truncate(join(bench.keep!, name), 100);
    const training = await runBench({ ...stopped, tasks: ["training"] });
    expect(training.parts).toEqual([{ ...parts[0], reused: true }]);
    await expect(runBench(stopped)).rejects.toThrow("aborted");
  });

  it("measures sides by themselves where two do not fit", async () => {
    const said: string[] = [];
    const alone = await runBench({
      ...{ ...bench, twins: ["moe-diffuseq"], tasks: ["training"], alone: true, keep: undefined },
      onProgress: (what) => said.push(what),
    });
    // Every turn has its own start.
    expect(said.filter((what) => what.endsWith("starting"))).toHaveLength(2);
    expect(formatBench(alone)).toContain("one side in memory at a time");
    expect(formatBench(report.bench)).not.toContain("one side in memory");
    expect(alone.rows.map(({ twin, milliseconds }) => [twin, milliseconds.length])).toEqual([
      ["moe-diffuseq", 2],
    ]);
    for (const { peakBytes } of alone.rows) expect(peakBytes).toBeGreaterThan(1e7);
  });

  it("puts each claim beside the paper's ratio, with an interval and a command", () => {
    const claims = claimsOf(report);
    expect(claims.map(({ claim, paper }) => [claim, paper])).toEqual([
      ["training throughput against dense DiffuSeq, length 32", "x2.5"],
      ["sampling latency of dense DiffuSeq over ours, length 32", "x2.4 (2k tokens)"],
      ["peak memory of training, dense DiffuSeq over ours, length 32", ""],
      [expect.stringMatching(/^peak memory of training with 4 times the experts/), "grows modestly"],
      [expect.stringMatching(/^peak memory of sampling with 4 times the experts/), "grows modestly"],
      ["addresses: BLEU, moe-diffuseq over dense-active", ""],
      ["addresses: eight words missing in the middle, F1, moe-diffuseq over dense-active", ""],
      ["addresses: single words missing, share written exactly, moe-diffuseq over dense-active", ""],
    ]);
    for (const { ours, command } of claims) {
      expect(ours).toMatch(/^(x\d+\.\d\d|none)/);
      expect(command).toMatch(/^npx moe-diffuseq (bench .*--rounds 2|evaluate .*--pairs 8)/);
    }
  });

  it("knows the paper's ratios for quality, and the cost of length, where they were measured", () => {
    const { bench, suite } = report;
    const longer = bench.rows.map((row) => ({
      ...row,
      length: 64,
      tokens: 2 * row.tokens,
      milliseconds: row.milliseconds.map((round) => round.map((ms) => 4 * ms)),
    }));
    const tasks = suite.tasks.map((task) => ({ ...task, task: "science", suite: "science" }));
    const claims = claimsOf({
      ...report,
      bench: { ...bench, rows: [...bench.rows, ...longer] },
      suite: { ...suite, tasks },
    });
    const length = claims.filter(({ claim }) => claim.includes("time a token"));
    expect(length).toHaveLength(4);
    for (const { ours, interval } of length) {
      expect(ours).toBe("x2.00");
      // Parts did not take turns: what a round of one had, no round of the other had in common with it.
      const [low, high] = interval.split(" to ").map(Number);
      expect([low <= 2, high >= 2]).toEqual([true, true]);
    }
    // A quick run judges nothing; a run of few rounds and one seed says so.
    expect(claims.every(({ verdict }) => verdict === "")).toBe(true);
    const judged = claimsOf({ ...report, quick: false, suite: { ...suite, tasks } });
    const [training, sampling] = judged;
    expect(training.verdict).toBe("too few to say (2 rounds of one run)");
    const rows = bench.rows.map((row) => ({ ...row, milliseconds: [1, 2].flatMap(() => row.milliseconds) }));
    const [more] = claimsOf({ ...report, quick: false, bench: { ...bench, rows } });
    expect(more.verdict).toMatch(
      /^(ahead|behind|no difference shown) \(4 rounds of one run\); \d\.\d\d of the paper's ratio$/,
    );
    // The paper's latency is that of 2,048 tokens.
    expect(sampling.verdict).not.toContain("paper");
    for (const { claim, verdict } of judged)
      if (claim.includes("memory") || claim.includes("time a token")) expect(verdict).toBe("");
      else if (claim.startsWith("abstracts"))
        expect(verdict).toMatch(
          /^(too few to say|neither scores|scores alone) \(one seed, [12] documents?\)/,
        );
    expect(claims.at(-3)).toMatchObject({
      claim: expect.stringMatching(/^abstracts: BLEU/),
      paper: "x1.19",
      command: expect.stringContaining("--data corpora"),
    });
    expect(claims.at(-2)!.claim).toMatch(/^abstracts: eight words missing in the middle/);
    expect(claims.at(-1)!.claim).toMatch(/^abstracts: single words missing/);
  });

  it("judges by intervals as they are printed, and by another metric where no target had a gap", () => {
    const { suite } = report;
    const [task] = suite.tasks;
    const [first] = task.summary.ratios;
    const verdictOf = (low: number) => {
      const value = { ...first.value, ratio: 1.3, low, high: 1.7, groups: 30 };
      const ratios = task.summary.ratios.map((one) => ({ ...one, value }));
      const own = { ...task, task: "code.pieces", metrics: ["bleu"], summary: { ...task.summary, ratios } };
      const claims = claimsOf({ ...report, quick: false, suite: { ...suite, tasks: [own] } });
      return claims
        .filter(({ claim }) => claim.includes(" over dense-active"))
        .map((one) => [one.claim, one.verdict]);
    };
    const claim = "pieces: BLEU, moe-diffuseq over dense-active";
    expect(verdictOf(1.004)).toEqual([[claim, "no difference shown (one seed)"]]);
    expect(verdictOf(1.006)).toEqual([[claim, "ahead (one seed)"]]);
  });

  it("lists what a task is mostly judged by once, as a gap or not", () => {
    const tasks = report.suite.tasks.map((task) => ({ ...task, task: "code.pieces", suite: "code" }));
    const claims = claimsOf({ ...report, suite: { ...report.suite, tasks } });
    const ofCode = claims.filter(({ claim }) => claim.startsWith("code"));
    expect(ofCode.map(({ claim, paper }) => [claim, paper])).toEqual([
      ["code: single words missing, exact match, moe-diffuseq over dense-active", "x1.19"],
      ["code: eight words missing in the middle, F1, moe-diffuseq over dense-active", ""],
    ]);
    for (const { command } of ofCode) expect(command).toContain("--suite code.pieces --data corpora");
  });

  it("credits the paper's ratio to its own twin alone", () => {
    const [task] = report.suite.tasks;
    const renamed = (names: readonly string[]): ClaimsReport => ({
      ...report,
      suite: {
        ...report.suite,
        tasks: [
          {
            ...task,
            task: "science",
            summary: {
              ...task.summary,
              twins: task.summary.twins.map((one, i) => ({ ...one, twin: names[i] as TwinName })),
            },
          },
        ],
      },
    });
    const ofPaper = (names: readonly string[]) =>
      claimsOf(renamed(names)).filter(({ claim, paper }) => claim.startsWith("abstracts") && paper !== "");
    const own = task.summary.twins.map(({ twin }) => twin);
    expect(ofPaper(own)).toHaveLength(1);
    expect(ofPaper(["masked", ...own.slice(1)])).toHaveLength(0);
  });

  it("says which code measured, trained, judged and reported", () => {
    const markdown = claimsMarkdown(report, "moe-diffuseq claims --quick");
    const { commit, code } = programId();
    const own = commit === null ? `code ${code}` : `commit ${commit} (code ${code})`;
    expect(markdown).toContain(`- Code of the twins: Trained by ${own}; judged by ${own}.`);
    expect(markdown).toContain(`- Code of this report: ${own}`);
    expect(markdown.split("\n").find((line) => line.startsWith("- Machine: "))).toContain(`; ${own}`);
    expect(markdown).toContain("## Left out\n\n- PyTorch: none here");
  });

  it("says in table, page and terminal that a quick run is one", () => {
    expect(claimsLines(report).at(-1)).toMatch(/^A quick run/);
    expect(claimsLines({ ...report, quick: false }).at(-1)).toBe("Left out: PyTorch: none here");
    const markdown = claimsMarkdown(report, "moe-diffuseq claims --quick");
    expect(markdown).toMatch(/\*\*A quick run/);
    expect(markdown.split("\n").filter((line) => line.startsWith("| addresses")).length).toBe(5);
    expect(markdown).toContain("## Texts under a scorer of ours");
    expect(markdown).toMatch(
      /\| moe-diffuseq \| \d+\.\d \| \d+ of \d+ \| \d\.\d{2} \| \d+\.\d \| \d\.\d{3} \| \d\.\d{3} \|/,
    );
    const page = claimsPage(report, "moe-diffuseq claims --quick");
    for (const heading of [
      "The claims",
      "Time and memory against length",
      "Loss against tokens",
      "Loss against time",
      "Expert load against noise level",
      "Quality against steps",
      "What the network adds to the channel",
      "moe-diffuseq fills gaps",
      "from nothing: perplexity",
      "Left out",
    ])
      expect(page).toContain(heading);
    expect(page).not.toMatch(/NaN|undefined/);
  });
});
