/** @file `moe-diffuseq report` on runs with and without bits per byte, half done, and none at all. */
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseHTML } from "linkedom";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCommandLine } from "../program.js";
import { memoryTerminal } from "../testing/memory-terminal.js";

const tiny = ["model.hiddenSize=16", "model.numHeads=2", "model.embeddingSize=8", "model.numLayers=1"].concat(
  ["model.vocabSize=300", "model.attention.window=16", "model.attention.globalTokens=2"],
  ["model.experts.numExperts=2", "model.experts.intermediateSize=16", "training.sequenceLength=64"],
  ["training.batchSize=2", "training.evalEvery=2", "training.evalSequences=4", "training.logEvery=1"],
);

describe("report", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "moe-diffuseq-report-"));
    for (const preset of ["masked", "moe-diffuseq"])
      expect(
        (await run("train", "--preset", preset, "--max-steps", "4", ...sets, "--out", join(folder, preset)))
          .code,
      ).toBe(0);
  }, 120_000);
  afterAll(() => rm(folder, { recursive: true }));

  const sets = [...tiny, "training.maxMinutes=null"].flatMap((set) => ["--set", set]);
  const run = async (...args: string[]) => {
    const terminal = memoryTerminal();
    const threads = args[0] === "report" ? [] : ["--threads", "1"];
    const code = await runCommandLine([...args, ...threads], terminal);
    return { code, out: terminal.stdout.text, err: terminal.stderr.text };
  };

  it("draws what a run has logged into its folder", async () => {
    const { code, out } = await run("report", "--model", join(folder, "moe-diffuseq"));
    expect(code).toBe(0);
    const page = join(folder, "moe-diffuseq", "report.html");
    expect(out).toContain(`Report with pictures: ${page}`);
    const { document } = parseHTML(await readFile(page, "utf8"));
    expect(document.querySelector("title")?.textContent).toBe("moe-diffuseq");
    expect(document.querySelector(".summary")?.textContent).toMatch(
      /read 512 tokens of State of the Union addresses.* Its validation loss went from \d/,
    );
    expect(document.querySelector(".facts")?.textContent).toContain("Sequences a step2");
    const headings = [...document.querySelectorAll("h2")].map(({ textContent }) => textContent);
    expect(headings).toEqual([
      "How it learned",
      "Who does the work: expert load",
      "Who sees whom: attention",
      "The run",
      "How to read this",
    ]);
  });

  it("draws n-gram models beside bits per byte, as evaluate counts them", async () => {
    const model = join(folder, "masked");
    const page = join(folder, "masked.html");
    const { code, out } = await run("report", "--model", model, "--baselines", "--out", page, "--json");
    expect(code).toBe(0);
    const { baselines, lines } = JSON.parse(out);
    expect(lines).toBeGreaterThan(4);
    const evaluated = await run("evaluate", "--model", model, "--json");
    const { ngrams } = JSON.parse(evaluated.out);
    expect(baselines).toEqual(
      ["unigram", "bigram", "trigram"].map((name) => ({ name, bitsPerByte: ngrams[name].bitsPerByte })),
    );
    expect(await readFile(page, "utf8")).toMatch(/bits per byte it is (better than|not yet as good as) the/);
  }, 60_000);

  it("draws a run that has logged, or nothing yet, and has no weights", async () => {
    const early = join(folder, "early");
    await cp(join(folder, "masked"), early, { recursive: true });
    await rm(join(early, "model.safetensors"));
    const logged = await run("report", "--model", early, "--baselines", "--json");
    expect(JSON.parse(logged.out).baselines).toHaveLength(3);
    await writeFile(join(early, "metrics.jsonl"), "");
    const { code, out } = await run("report", "--model", early);
    expect({ code, out }).toMatchObject({ code: 0, out: expect.stringMatching(/^Nothing is logged yet\./) });
    const { document } = parseHTML(await readFile(join(early, "report.html"), "utf8"));
    expect(document.querySelector(".summary")?.textContent).toMatch(/^A model of .* read 0 tokens of /);
  }, 60_000);

  it("says what is missing", async () => {
    expect(await run("report")).toMatchObject({ code: 2, err: expect.stringMatching(/pass --model/) });
    const gaussian = await run("report", "--model", join(folder, "moe-diffuseq"), "--baselines");
    expect(gaussian).toMatchObject({ code: 1, err: expect.stringMatching(/a Gaussian process has none/) });
    const none = await run("report", "--model", join(folder, "nothing"));
    expect(none).toMatchObject({
      code: 1,
      err: expect.stringMatching(/nothing is not the directory of a run/),
    });
    expect(existsSync(join(folder, "nothing"))).toBe(false);
  });
});
