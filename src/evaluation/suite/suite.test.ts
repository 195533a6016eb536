/** @file Suites: sources and gaps, ratios with intervals, and a miniature from pairs to report. */
import { mkdir, mkdtemp, readdir, rename, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { configFromLayers } from "../../config/index.js";
import { Tokenizer } from "../../data/index.js";
import { formatGaps, formatRatio, formatSuite } from "./format.js";
import { cutSpan, cutWords, type GappedText, infillings, infillRequest } from "./infill.js";
import { runSuite, type SuiteOptions } from "./run-suite.js";
import { suiteTasks, tasksOf } from "./suites.js";
import { ratioInterval } from "./summary.js";
import { tinyBase } from "./testing/tiny-base.js";
import { shownSource } from "./write-texts.js";

describe("a source", () => {
  it("is shown whole where it leaves the target its share, and its beginning where it does not", async () => {
    const codec = await Tokenizer.train(["the first part of it, and the second part of it"], {
      vocabSize: 275,
    });
    const room = { length: 40, targetShare: 0.25 };
    for (const src of ["1".repeat(26), "é".repeat(13)]) expect(shownSource(src, codec, room)).toBe(src);
    expect(shownSource("1".repeat(27), codec, room)).toBe("1".repeat(26));
    expect(shownSource(`1${"é".repeat(13)}`, codec, room)).toBe(`1${"é".repeat(12)}`);
    // What a continuation follows on is its end.
    const end = { ...room, continues: true };
    expect(shownSource("1".repeat(26), codec, end)).toBe("1".repeat(26));
    expect(shownSource(`${"2".repeat(9)}${"1".repeat(26)}`, codec, end)).toBe("1".repeat(26));
    expect(shownSource(`${"é".repeat(13)}1`, codec, end)).toBe(`${"é".repeat(12)}1`);
    for (const task of suiteTasks) expect(task.targetShare).toBeLessThanOrEqual(0.5);
  });
});

describe("infilling", () => {
  const words =
    "one two  three\nfour five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen.";

  /** The text that gaps were made in. */
  const whole = ({ given, missing }: GappedText) =>
    given.map((text, i) => text + (missing[i] ?? "")).join("");

  it("takes out the words in the middle, and leaves the rest as it is", () => {
    const gaps = cutSpan(words)!;
    expect(whole(gaps)).toBe(words);
    expect(gaps.missing).toEqual([" five six seven eight nine ten eleven twelve"]);
    expect(cutSpan("one two three")).toEqual({ given: ["one", " three"], missing: [" two"] });
    for (const short of ["one two", ""]) expect(cutSpan(short)).toBeNull();
  });

  it("takes out single words all over the text, never two neighbours, none with a number or a hyphen", () => {
    const gaps = cutWords(words)!;
    expect(whole(gaps)).toBe(words);
    expect(gaps.missing.map((word) => word.trim())).toEqual(
      ["three", "five", "seven", "nine", "eleven", "thirteen", "fifteen"], // the first word has no space before it
    );
    const mixed = cutWords(
      "We trained a state-of-the-art model, T5 and 3 others (see Fig 2) for days, naïvely.",
    )!;
    // Of trained, a, model, and, others, Fig, for, days, naïvely.
    expect(mixed.missing).toEqual([" a", " and", " Fig", " days"]);
    expect(cutWords("one two three")).toBeNull();
    expect(cutWords(Array.from({ length: 300 }, () => "word").join(" "))!.missing).toHaveLength(8);
  });

  it("asks for as many tokens as are missing, in a target that fits", async () => {
    const trg =
      "Schrödingers Katze ist 猫 und bleibt 猫猫猫, wie man sagt: weder tot noch lebendig, bis jemand nachsieht.";
    const codec = await Tokenizer.train(["bis jemand nachsieht", "weder tot noch"], { vocabSize: 275 });
    const tokens = (text: string) => codec.encode(text).length;
    for (const cut of [cutSpan, cutWords]) {
      const asked = infillRequest({ src: "s", trg }, cut, codec, 400)!;
      const { given, missing } = asked.gaps;
      expect(whole(asked.gaps)).toBe(trg);
      const gaps = missing.map((text) => ({ gap: tokens(text) }));
      expect(asked.request).toEqual({
        src: "s",
        infill: given.flatMap((text, i) => [text, gaps[i]].slice(0, i < gaps.length ? 2 : 1)),
      });
      // However the target is cut, even through a character: what is asked for fits, and is text.
      for (let room = 60; room < tokens(trg); room++) {
        const shorter = infillRequest({ src: "s", trg }, cut, codec, room)!.gaps;
        expect(trg.startsWith(whole(shorter))).toBe(true);
        const used = [...shorter.given, ...shorter.missing].reduce((sum, text) => sum + tokens(text), 0);
        expect(used).toBeLessThanOrEqual(room);
      }
      expect(infillRequest({ src: "s", trg }, cut, codec, 3)).toBeNull();
    }
  });

  it("scores the missing words, not those around them", () => {
    const gaps = cutSpan("one two three four")!;
    expect(gaps.missing).toEqual([" two three"]);
    const { infillF1, infillEditSimilarity } = infillings.span.metrics;
    expect(infillF1({ ...gaps, written: [" three two"] })).toBe(1);
    expect(infillF1({ ...gaps, written: [" one four"] })).toBe(0);
    expect(infillEditSimilarity({ ...gaps, written: ["two three"] })).toBe(1);
    const single = { given: ["a", "c", "e", ""], missing: [" b", " d", " f"] };
    expect(infillings.words.metrics.infillWords({ ...single, written: [" b", "d ", " x"] })).toBeCloseTo(
      2 / 3,
      9,
    );
  });

  it("shows what was written between what stands around it", () => {
    const filled = {
      ...cutWords(words)!,
      written: [" drei", "", " sieben", " nine", "?", " dreizehn", "fifteen"],
    };
    expect(formatGaps(filled)).toBe(
      "one two [ drei | three]\nfour[ | five] six[ sieben | seven] eight[ nine | nine] ten[? | eleven] twelve[ dreizehn | thirteen] fourteen[fifteen | fifteen] sixteen.",
    );
    expect(formatGaps({ given: ["a".repeat(200), "b".repeat(200)], missing: [" x"], written: [" y"] })).toBe(
      ` ... ${"a".repeat(80)}[ y | x]${"b".repeat(80)} ... `,
    );
  });
});

describe("ratioInterval", () => {
  it("is the ratio of means, with an interval around it that repeats", () => {
    const second = Array.from({ length: 60 }, (_, i) => 1 + (i % 7));
    const first = second.map((value, i) => 1.2 * value + 0.3 * Math.sin(i));
    const found = ratioInterval([first], [second]);
    expect(found.ratio).toBeCloseTo(found.first / found.second, 12);
    expect(found.low!).toBeLessThan(found.ratio!);
    expect(found.high!).toBeGreaterThan(found.ratio!);
    expect(found.high! - found.low!).toBeLessThan(0.1);
    expect(ratioInterval([first], [second])).toEqual(found);
    expect(ratioInterval([second], [second])).toMatchObject({ ratio: 1, low: 1, high: 1 });
  });

  it("is wider where sources share documents, and draws documents whole", () => {
    const second = Array.from({ length: 60 }, (_, i) => 1 + (i % 7));
    const first = second.map((value, i) => value * (1 + 0.5 * Math.sin(i / 10)));
    const [alone, together] = [undefined, first.map((_, i) => Math.floor(i / 15))].map((groups) =>
      ratioInterval([first], [second], groups),
    );
    expect(together.ratio).toBe(alone.ratio);
    expect([together.sources, together.groups, alone.groups]).toEqual([60, 4, 60]);
    expect(together.high! - together.low!).toBeGreaterThan(1.5 * (alone.high! - alone.low!));
    const one = ratioInterval([first], [second], Array(60).fill("a"));
    expect([one.low, one.high]).toEqual([expect.closeTo(one.ratio!, 12), expect.closeTo(one.ratio!, 12)]);
  });

  it("draws the seeds of each twin too", () => {
    const [low, high] = [Array(30).fill(0.2), Array(30).fill(0.4)];
    const first = ratioInterval([low, high], [low, low]);
    expect([first.ratio, first.low, first.high]).toEqual(
      [1.5, 1, 2].map((value) => expect.closeTo(value, 12)),
    );
    const both = ratioInterval([low, high], [low, high]);
    expect([both.ratio, both.low, both.high]).toEqual([1, 0.5, 2].map((value) => expect.closeTo(value, 12)));
  });

  it("says so where there is none", () => {
    expect(ratioInterval([[0, 1]], [[0, 0]])).toEqual({
      ratio: null,
      low: null,
      high: null,
      first: 0.5,
      second: 0,
      sources: 2,
      groups: 2,
    });
    expect(ratioInterval([[1, 1]], [[0, 1]]).high).toBeNull();
    expect(formatRatio(ratioInterval([[0, 1]], [[0, 0]]))).toBe("none (0.500 over 0.000)");
    // What is printed as 0.000 is nothing to divide by.
    expect(ratioInterval([[0.01, 0.02]], [[1e-8, 2e-4]])).toMatchObject({
      ratio: null,
      low: null,
      high: null,
    });
    expect(ratioInterval([[0.2, 0.2]], [[1e-8, 0.1]])).toMatchObject({
      ratio: expect.closeTo(4),
      high: null,
    });
  });
});

describe("runSuite", () => {
  let out: string;
  beforeAll(async () => {
    out = await mkdtemp(join(tmpdir(), "moe-diffuseq-suite-"));
  });
  afterAll(() => rm(out, { recursive: true }));

  it("trains twins on the same pairs, judges them, and takes over what is there", async () => {
    const options: SuiteOptions = {
      tasks: tasksOf("addresses").map((task) => ({
        ...task,
        metrics: [...task.metrics, "distinctWords"],
        length: 40,
        coherence: true,
        candidates: 2,
      })),
      base: tinyBase(),
      twins: ["moe-diffuseq", "autoregressive"],
      seeds: [1],
      budget: { tokens: 320 },
      out,
      pairs: 12,
      items: 3,
      steps: 2,
      qualitySteps: [1],
      threads: 1,
    };
    const report = await runSuite(options);
    const [task] = report.tasks;
    expect(task.runs.map(({ twin, steps, tokens }) => [twin, steps, tokens])).toEqual([
      ["moe-diffuseq", 2, 320],
      ["autoregressive", 2, 320],
    ]);
    for (const { judged, curve, loss } of task.runs) {
      expect(Object.keys(judged.scores)).toEqual([
        "bleu",
        "rougeL",
        "chrf",
        "distinctWords",
        "coherence",
        "infillF1",
        "infillEditSimilarity",
        "infillWords",
      ]);
      for (const [metric, scores] of Object.entries(judged.scores)) {
        // Too little of a target may be left for words to be taken out.
        if (!metric.startsWith("infill")) expect(scores).toHaveLength(3);
        for (const score of scores) expect(score >= 0 && score <= 1).toBe(true);
      }
      expect(curve.at(-1)!.value).toBeGreaterThan(0);
      expect(loss.sequences).toBe(64);
      expect(judged.free!.repetition).toBeGreaterThanOrEqual(0);
      // Untrained: all but noise under the scorer, and far from what it has learned.
      expect(judged.free!.perplexity).toBeGreaterThan(task.scorer.real.perplexity!);
      expect(judged.asSet.likeness).toBeGreaterThan(0.003);
      expect(judged.asSet.empty).toBeLessThanOrEqual(3);
      for (const { written, missing } of Object.values(judged.infill))
        expect(written).toHaveLength(missing.length);
    }
    // Shorter texts have more different words: no ratio is made of them.
    expect([...new Set(task.summary.ratios.map(({ metric }) => metric))]).toEqual(
      task.metrics.filter((metric) => metric !== "distinctWords"),
    );
    const [ours, autoregressive] = task.summary.twins;
    expect([ours.bitsPerByte, ours.exact, autoregressive.exact]).toEqual([null, false, true]);
    expect(ours.channel).toBeGreaterThan(0);
    expect(autoregressive.bitsPerByte).toBeGreaterThan(0);
    expect(task.runs[0].experts!.numExperts).toBe(3);
    expect(task.runs.map(({ quality }) => quality.length)).toEqual([1, 0]);
    expect(task.classifier!.wrong.map(({ kind }) => kind)).toEqual(["same talk", "other talk"]);
    expect(task.scorer.tokens).toBeGreaterThan(100);
    const shown = formatSuite(report);
    expect(shown).toMatch(/\n\nTrained by ([^;]+); judged by \1\.$/);
    expect(shown).toMatch(/Coherence is a proxy/);
    expect(shown).toMatch(
      /held-out targets have a perplexity of \d+\.\d, and 40 sets of as many training targets a likeness to them of \d\.\d\d, 8 of 10 from \d/,
    );

    const began: string[] = [];
    const again = await runSuite({ ...options, onProgress: (what) => began.push(what) });
    expect(began.some((what) => /step \d/.test(what))).toBe(false);
    expect(again).toEqual(report);
    // Other steps for the chart of quality: only those that are missing are written, nothing is trained.
    const more = await runSuite({
      ...options,
      qualitySteps: [3, 1, 2],
      onProgress: (what) => began.push(what),
    });
    expect(began.filter((what) => /step \d|writing/.test(what))).toEqual([
      "addresses: moe-diffuseq, seed 1: writing in 3 steps",
    ]);
    expect(more.tasks[0].runs[0].quality.map(({ steps }) => steps)).toEqual([3, 1, 2]);
    // Its own number of steps is judged already.
    expect(more.tasks[0].runs[0].quality[2].judged).toEqual(task.runs[0].judged);
    expect(formatSuite(more)).toMatch(
      /moe-diffuseq, bleu against steps: 0\.\d{3} in 3, 0\.\d{3} in 1, 0\.\d{3} in 2\./,
    );
    expect(more.tasks[0].runs[0].quality[1]).toEqual(task.runs[0].quality[0]);
    // The same results in a folder that was moved: what counts are the pairs, not where they lie.
    const moved = join(out, "moved");
    await mkdir(moved);
    await rename(join(out, "addresses"), join(moved, "addresses"));
    const there = await runSuite({ ...options, out: moved, onProgress: (what) => began.push(what) });
    expect(began.some((what) => /step \d/.test(what))).toBe(false);
    expect(there.tasks[0].summary).toEqual(task.summary);
    // What is broken counts for nothing, and is made again.
    const names = await readdir(join(moved, "addresses"));
    const broken = names.find((name) => name.startsWith("autoregressive"))!;
    await truncate(join(moved, "addresses", broken, "suite-training.json"), 100);
    await runSuite({ ...options, out: moved, onProgress: (what) => began.push(what) });
    const trained = began.filter((what) => /step \d/.test(what));
    expect(trained.length).toBeGreaterThan(0);
    for (const what of trained) expect(what).toMatch(/^addresses: autoregressive/);
    // Settings that a twin cannot have are refused before anything is trained.
    const refused = configFromLayers([
      { name: "base", config: options.base },
      { name: "refused", config: { generation: { sampler: "ddim" } } },
    ]);
    await expect(
      runSuite({ ...options, base: refused, twins: ["moe-diffuseq", "masked"], out: join(out, "refused") }),
    ).rejects.toThrow(/^addresses, twin masked: generation\.sampler: expected "absorbing"/);
    expect(await readdir(out)).not.toContain("refused");
    // Other sources to judge by: nothing is trained for them.
    const one: SuiteOptions = { ...options, twins: ["moe-diffuseq"], qualitySteps: [], out: moved };
    const said: string[] = [];
    // A left-to-right twin writes in as many steps as there are tokens.
    const [left] = (await runSuite({ ...options, twins: ["autoregressive"], out: moved })).tasks;
    expect(left.runs[0].quality).toEqual([]);
    const fewer = await runSuite({ ...one, items: 2, onProgress: (what) => said.push(what) });
    expect(said.some((what) => /step \d/.test(what))).toBe(false);
    expect(fewer.tasks[0].runs[0].date).toBe(task.runs[0].date);
    expect(fewer.tasks[0].runs[0].judged.scores.bleu).toEqual(task.runs[0].judged.scores.bleu.slice(0, 2));
    // Other settings of generation: nothing is trained for them either, and they are what texts are written by.
    const written: string[] = [];
    const base = configFromLayers([
      { name: "base", config: options.base },
      { name: "drawn", config: { generation: { topK: 1 } } },
    ]);
    const drawn = await runSuite({ ...one, base, onProgress: (what) => written.push(what) });
    expect(written.some((what) => /step \d/.test(what))).toBe(false);
    expect(drawn.tasks[0].runs[0].judged.samples).not.toEqual(task.runs[0].judged.samples);
  }, 180_000);

  it("trains a twin once, whoever asks for it at the same time", async () => {
    const said: string[][] = [[], []];
    const ask = (i: number) =>
      runSuite({
        ...{ tasks: tasksOf("addresses").map((task) => ({ ...task, length: 40 })), base: tinyBase() },
        ...{ twins: ["masked"], seeds: [1], budget: { tokens: 320 }, pairs: 12, items: 1, steps: 1 },
        out: join(out, "shared"),
        onProgress: (what) => said[i].push(what),
      });
    const [first, second] = await Promise.all([ask(0), ask(1)]);
    expect(second).toEqual(first);
    expect(said.filter((own) => own.some((what) => /step \d/.test(what)))).toHaveLength(1);
    expect(said.filter((own) => own.some((what) => what.includes("another process")))).toHaveLength(1);
  });
});
