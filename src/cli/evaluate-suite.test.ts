/** @file `evaluate --suite` with twins side by side: trained by processes of their own, judged together. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type SuiteReport, tasksOf } from "../evaluation/suite/index.js";
import { suiteOptions, trainSideBySide } from "./evaluate-suite.js";
import { runCommandLine } from "./program.js";
import { memoryTerminal } from "./testing/memory-terminal.js";

describe("evaluate --suite --jobs", () => {
  let out: string;
  beforeAll(async () => {
    out = await mkdtemp(join(tmpdir(), "moe-diffuseq-side-by-side-"));
  });
  afterAll(() => rm(out, { recursive: true }));

  const budget = "--max-tokens 500 --pairs 12 --items 2 --steps 1 --threads 2 --quick --json".split(" ");
  const evaluate = async (...more: string[]) => {
    const terminal = memoryTerminal();
    const flags = ["--suite", "addresses", ...budget, "--twins", "moe-diffuseq,autoregressive", "--out", out];
    const code = await runCommandLine(["evaluate", ...flags, ...more], terminal);
    return { code, said: terminal.stderr.text, shown: terminal.stdout.text };
  };

  it("trains in other processes what this one then takes over", async () => {
    const flags = {
      ...{ twins: ["moe-diffuseq", "autoregressive"], seeds: [1], quick: true, jobs: 2, threads: 2 },
      ...{ maxTokens: 500, pairs: 12, items: 2, steps: 1, qualitySteps: [3, 2, 1, 2] },
    };
    const options = await suiteOptions(flags, tasksOf("addresses"), out);
    const seen: string[] = [];
    const onProgress = (what: string) => seen.push(what);
    await trainSideBySide(flags, options, { signal: new AbortController().signal, onProgress });
    // Nothing is judged before all twins are trained, and texts in other numbers of steps come last.
    const phases = seen.map((what) => /^[^:]*: \d of \d/.exec(what)![0]);
    expect(phases.lastIndexOf("training: 2 of 2")).toBeLessThan(phases.indexOf("judging: 0 of 2"));
    expect(phases.lastIndexOf("judging: 2 of 2")).toBeLessThan(
      phases.indexOf("texts in other numbers of steps: 0 of 1"),
    );
    expect(phases.at(-1)).toBe("texts in other numbers of steps: 1 of 1");
    const runs = await readdir(join(out, "addresses"));
    const results = flags.twins.map((twin) => {
      const folder = runs.find((name) => name.startsWith(`${twin}-seed1-`))!;
      return join(out, "addresses", folder, "suite-result.json");
    });
    const kept = await Promise.all(
      results.map(async (file) => JSON.parse(await readFile(file, "utf8")).content),
    );
    const dates = kept.map(({ date }) => date);
    // In order, each once, for the first twin; one step is its own number of steps.
    expect(kept.map(({ quality }) => quality.map(({ steps }: { steps: number }) => steps))).toEqual([
      [2, 3],
      [],
    ]);

    const { code, shown } = await evaluate("--jobs", "2");
    expect(code).toBe(0);
    const { tasks } = JSON.parse(shown.trim().split("\n").at(-1)!) as SuiteReport;
    expect(tasks[0].runs.map(({ twin, date }) => [twin, date])).toEqual(
      flags.twins.map((twin, i) => [twin, dates[i]]),
    );
  }, 120_000);

  it.each(["1", "2"])(
    "trains now and judges later, %s at a time",
    async (jobs) => {
      const own = join(out, `later-${jobs}`);
      const inOwn = ["--out", own, "--jobs", jobs];
      const trained = await evaluate(...inOwn, "--train-only");
      expect(trained).toMatchObject({ code: 0, shown: `${JSON.stringify({ out: own, trained: 2 })}\n` });
      const folder = join(own, "addresses");
      const runs = (await readdir(folder)).filter((name) => name.includes("-seed1-"));
      const kept = await Promise.all(
        runs.map(async (run) => JSON.parse(await readFile(join(folder, run, "suite-training.json"), "utf8"))),
      );
      for (const run of runs) expect(await readdir(join(folder, run))).not.toContain("suite-result.json");
      const { shown } = await evaluate(...inOwn);
      const { tasks } = JSON.parse(shown) as SuiteReport;
      expect(tasks[0].runs.map(({ date }) => date).sort()).toEqual(
        kept.map(({ content }) => content.date).sort(),
      );
      expect((await evaluate(...inOwn, "--train-only", "--report", join(own, "r.json"))).said).toContain(
        "--report is written when twins are judged",
      );
    },
    120_000,
  );

  it("passes on what is wrong", async () => {
    const run = async (...flags: string[]) => {
      const terminal = memoryTerminal();
      const code = await runCommandLine(
        ["evaluate", "--suite", "science", "--threads", "2", ...flags],
        terminal,
      );
      return [code, terminal.stderr.text];
    };
    const broken = join(out, "broken");
    await mkdir(broken);
    expect(await run("--jobs", "2", "--data", broken, "--out", out)).toEqual([
      1,
      expect.stringMatching(/expected science\.abstracts\.train\.jsonl/),
    ]);
    // The children read the data, and find nothing in it.
    for (const part of ["train", "valid"])
      await writeFile(join(broken, `science.abstracts.${part}.jsonl`), '{"title":"a"}\n');
    expect(await run("--jobs", "2", "--data", broken, "--out", out)).toEqual([
      1,
      expect.stringMatching(/science, .*its process ended \(1\)[\s\S]*science\.abstracts\.train\.jsonl/),
    ]);
    expect(await run("--on-bad-record", "skip", "--jobs", "2", "--data", broken, "--out", out)).toEqual([
      1,
      expect.stringMatching(/holds no documents \(1 broken records skipped\)/),
    ]);
    for (const [setting, message] of [
      ["training.seed=2", /--set training\.seed: a suite decides this itself; give --seeds instead/],
      ["training.packing=true", /--set training\.packing: .*leave it out/],
      ["diffusion.conditionDropout=0", /expected more than 0, got 0/],
      // However they are written.
      ['training={"seed":7}', /--set training\.seed: a suite decides this itself; give --seeds instead/],
      ['generation={"steps":4}', /--set generation\.steps: .*give --steps instead/],
      ['diffusion={"conditionDropout":0}', /--set diffusion\.conditionDropout: expected more than 0, got 0/],
    ] as const)
      expect(await run("--set", setting)).toEqual([1, expect.stringMatching(message)]);
    expect(await run("--twins", "autoregressive,masked", "--quality-steps", "4,2")).toEqual([
      1,
      expect.stringMatching(/--quality-steps: expected none, as the first twin, .*got 4,2; leave it out/),
    ]);
    expect(await run("--jobs", "3")).toEqual([1, expect.stringMatching(/--jobs: expected at most/)]);
    expect(await run("--jobs", "2", "--device", "webgpu")).toEqual([
      1,
      expect.stringMatching(/--jobs: expected 1 with --device webgpu/),
    ]);
  });
});
