/** @file Suites: pairs from documents, the next-turn classifier, ratios with intervals, and a miniature from pairs to report. */
import { mkdir, mkdtemp, readdir, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { configFromLayers } from "../../config/index.js";
import { Tokenizer } from "../../data/index.js";
import { UserError } from "../../errors.js";
import { formatGaps, formatRatio, formatSuite } from "./format.js";
import { cutSpan, cutWords, type GappedText, infillings, infillRequest } from "./infill.js";
import { NextTurnClassifier, wrongTurns } from "./next-turn.js";
import { GAP_MARK, gapPairs, sentencePairs, titlePairs, turnPairs } from "./pairs.js";
import { runSuite, type SuiteOptions } from "./run-suite.js";
import { readPairs, requireFiles, suiteNames, suiteTasks, tasksOf } from "./suites.js";
import { ratioInterval } from "./summary.js";
import { tinyBase } from "./testing/tiny-base.js";
import { shownSource } from "./write-texts.js";

const document = (text: string) => ({ source: "test", text });

describe("pairs", () => {
  it("of titles and abstracts", () => {
    expect([...titlePairs(document("A title\nWe show\nthat."))]).toEqual([
      { src: "A title", trg: "We show\nthat." },
    ]);
    expect([...titlePairs(document("no title"))]).toEqual([]);
  });

  it("of code put together are the code, with the line in its place", () => {
    const code = Array.from({ length: 60 }, (_, i) => `  const value${i} = ${i} * ${i};`).join("\n");
    const pairs = [...gapPairs(document(code))];
    expect(pairs.length).toBe(5);
    for (const { src, trg } of pairs) {
      expect(trg).toMatch(/^const value\d+ = /);
      expect(src.split(GAP_MARK)).toHaveLength(2);
      expect(code).toContain(src.replace(GAP_MARK, trg));
    }
  });

  it("of turns have whole turns before the one that came next", () => {
    const talk = Array.from(
      { length: 30 },
      (_, i) => `Speaker ${i % 3}: this is turn number ${i} of the talk`,
    );
    const pairs = [...turnPairs(document(talk.join("\n")))];
    expect(pairs.map(({ trg }) => trg)).toEqual([4, 8, 12, 16, 20, 24, 28].map((i) => talk[i]));
    for (const { src, trg } of pairs) {
      const before = src.split("\n");
      const next = talk.indexOf(trg);
      expect(before).toEqual(talk.slice(next - before.length, next));
      expect(src.length).toBeLessThanOrEqual(360);
    }
  });

  it("of sentences continue what stands before them", () => {
    const text = Array.from({ length: 10 }, (_, i) => `This is sentence number ${i} here.`).join(" ");
    const pairs = [...sentencePairs(document(text))];
    expect(pairs.map(({ trg }) => trg)).toEqual([4, 8].map((i) => `This is sentence number ${i} here.`));
    for (const { src, trg } of pairs) expect(text).toContain(`${src} ${trg}`);
  });

  it("come from the files of a task, which are named when they are missing", async () => {
    const folder = await mkdtemp(join(tmpdir(), "moe-diffuseq-suite-"));
    const [task] = tasksOf("science");
    const limits = { train: 2, valid: 1 };
    await expect(readPairs(task, folder, limits)).rejects.toThrow(/science\.abstracts\.train\.jsonl/);
    await expect(readPairs(task, undefined, limits)).rejects.toThrow(/--data/);
    expect(() => requireFiles(tasksOf("science"), folder)).toThrow(/science\.abstracts\.train\.jsonl/);
    expect(() => requireFiles(tasksOf("addresses"), undefined)).not.toThrow();
    const line = (i: number) => `${JSON.stringify({ title: `Title ${i}`, text: `Text ${i}` })}\n`;
    await writeFile(join(folder, "science.abstracts.train.jsonl"), line(0) + line(1) + line(2));
    await writeFile(join(folder, "science.abstracts.valid.jsonl"), line(3) + line(4));
    expect(await readPairs(task, folder, limits)).toEqual({
      train: [0, 1].map((i) => ({ src: `Title ${i}`, trg: `Text ${i}`, group: i })),
      valid: [{ src: "Title 3", trg: "Text 3", group: 0 }],
    });
    await rm(folder, { recursive: true });
    expect(new Set(suiteTasks.map(({ suite }) => suite))).toEqual(new Set(suiteNames));
    expect(() => tasksOf("poems")).toThrow(UserError);
    expect(tasksOf("seq2seq").map(({ name }) => name)).toContain("seq2seq.summaries");
    expect(tasksOf("seq2seq.summaries").map(({ name }) => name)).toEqual(["seq2seq.summaries"]);
  });
});

describe("held-out pairs", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "moe-diffuseq-suite-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const write = (name: string, documents: readonly object[]) =>
    writeFile(join(folder, name), documents.map((one) => `${JSON.stringify(one)}\n`).join(""));

  it("are from all documents in turn, and from all over each; fewer are the beginning of more", async () => {
    const [task] = tasksOf("dialogue");
    const talk = (name: string, turns: number) => ({
      text: Array.from({ length: turns }, (_, i) => `${name}: this is what is said as number ${i}`).join(
        "\n",
      ),
    });
    await write("dialogue.meetings.train.jsonl", [talk("X", 40)]);
    await write("dialogue.meetings.valid.jsonl", [
      talk("A", 45),
      talk("short", 2),
      talk("B", 13),
      talk("C", 45),
    ]);
    const { valid } = await readPairs(task, folder, { train: 10, valid: 7 });
    expect(valid.map(({ group, trg }) => [group, trg.slice(-2).trim()])).toEqual([
      [0, "24"],
      [2, "8"],
      [3, "24"],
      [0, "12"],
      [2, "4"],
      [3, "12"],
      [0, "36"],
    ]);
    expect(await readPairs(task, folder, { train: 10, valid: 4 })).toMatchObject({
      valid: valid.slice(0, 4),
    });
    const all = await readPairs(task, folder, { train: 10, valid: 1000 });
    expect(new Set(all.valid.map(({ group, trg }) => `${group} ${trg}`)).size).toBe(11 + 3 + 11);
  });

  it("that ask about one source are one group", async () => {
    const [task] = tasksOf("seq2seq.question-generation");
    const ask = (src: string, trg: string) => ({ src, trg });
    await write("seq2seq.question-generation.train.jsonl", [ask("a", "1")]);
    await write("seq2seq.question-generation.valid.jsonl", [ask("a", "1"), ask("a", "2"), ask("b", "3")]);
    const { valid } = await readPairs(task, folder, { train: 1, valid: 9 });
    expect(valid.map(({ group, trg }) => [group, trg])).toEqual([
      [0, "2"],
      [1, "3"],
      [0, "1"],
    ]);
  });
});

describe("a source", () => {
  it("is shown whole where it leaves the target its share, and its beginning where it does not", async () => {
    const codec = await Tokenizer.train(["the first part of it, and the second part of it"], {
      vocabSize: 275,
    });
    const room = { length: 40, targetShare: 0.25 };
    for (const src of ["1".repeat(26), "é".repeat(13)]) expect(shownSource(src, codec, room)).toBe(src);
    expect(shownSource("1".repeat(27), codec, room)).toBe("1".repeat(26));
    expect(shownSource(`1${"é".repeat(13)}`, codec, room)).toBe(`1${"é".repeat(12)}`);
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

describe("the next-turn classifier", () => {
  // Talk about one thing goes on about it.
  const topics = ["budget money cost", "remote button design", "lunch food table", "speech noise microphone"];
  const pairsOf = (from: number, count: number) =>
    Array.from({ length: count }, (_, k) => {
      const words = topics[(from + k * 3) % topics.length].split(" ");
      const pick = (i: number) => words[(k + i) % words.length];
      return {
        src: `A: we talk of ${pick(0)} and ${pick(1)} now ${from + k}`,
        trg: `B: yes the ${pick(2)} and ${pick(0)} again`,
        group: k % 6,
      };
    });

  it("tells what came next where there is something to tell", () => {
    const classifier = NextTurnClassifier.train(pairsOf(0, 202));
    const held = pairsOf(1000, 42);
    const mean = held.reduce((sum, pair) => sum + classifier.score(pair), 0) / held.length;
    const wrong = classifier.against(held, "other talk")!;
    expect(wrong.accuracy).toBeGreaterThan(0.85);
    expect(mean).toBeGreaterThan(wrong.score + 0.2);
    expect(NextTurnClassifier.train(pairsOf(0, 202)).score(held[0])).toBe(classifier.score(held[0]));
  });

  it("is at chance where there is nothing", () => {
    const same = Array.from({ length: 40 }, (_, i) => ({
      src: "A: hello",
      trg: "B: hello there",
      group: i & 1,
    }));
    expect(NextTurnClassifier.train(same).against(same, "same talk")!.accuracy).toBe(0.5);
  });

  it("takes wrong turns from further on in the same talk, or from another one, or says there are none", () => {
    const talks = Array.from({ length: 20 }, (_, i) => ({
      src: `s${i}`,
      trg: `t${i}`,
      group: i < 12 ? 0 : i < 19 ? 1 : 2,
    }));
    const groupOf = (trg: string) => talks.find((pair) => pair.trg === trg)!.group;
    for (const [i, wrong] of wrongTurns(talks, "same talk").entries()) {
      if (i === 19) expect(wrong).toBeNull();
      else
        expect([wrong!.src, wrong!.trg !== `t${i}`, groupOf(wrong!.trg)]).toEqual([
          `s${i}`,
          true,
          talks[i].group,
        ]);
    }
    for (const [i, wrong] of wrongTurns(talks, "other talk").entries())
      expect(groupOf(wrong!.trg)).not.toBe(talks[i].group);
    expect(wrongTurns(talks.slice(0, 12), "other talk")).toEqual(Array(12).fill(null));
    expect(NextTurnClassifier.train(talks).against(talks.slice(0, 12), "other talk")).toBeNull();
  });
});

describe("ratioInterval", () => {
  it("is the ratio of means, with an interval around it that repeats", () => {
    const second = Array.from({ length: 60 }, (_, i) => 1 + (i % 7));
    const first = second.map((value, i) => 1.2 * value + 0.3 * Math.sin(i));
    const found = ratioInterval(first, second);
    expect(found.ratio).toBeCloseTo(found.first / found.second, 12);
    expect(found.low!).toBeLessThan(found.ratio!);
    expect(found.high!).toBeGreaterThan(found.ratio!);
    expect(found.high! - found.low!).toBeLessThan(0.1);
    expect(ratioInterval(first, second)).toEqual(found);
    expect(ratioInterval(second, second)).toMatchObject({ ratio: 1, low: 1, high: 1 });
  });

  it("is wider where sources share documents, and draws documents whole", () => {
    const second = Array.from({ length: 60 }, (_, i) => 1 + (i % 7));
    const first = second.map((value, i) => value * (1 + 0.5 * Math.sin(i / 10)));
    const [alone, together] = [undefined, first.map((_, i) => Math.floor(i / 15))].map((groups) =>
      ratioInterval(first, second, groups),
    );
    expect(together.ratio).toBe(alone.ratio);
    expect([together.sources, together.groups, alone.groups]).toEqual([60, 4, 60]);
    expect(together.high! - together.low!).toBeGreaterThan(1.5 * (alone.high! - alone.low!));
    const one = ratioInterval(first, second, Array(60).fill("a"));
    expect([one.low, one.high]).toEqual([expect.closeTo(one.ratio!, 12), expect.closeTo(one.ratio!, 12)]);
  });

  it("says so where there is none", () => {
    expect(ratioInterval([0, 1], [0, 0])).toEqual({
      ratio: null,
      low: null,
      high: null,
      first: 0.5,
      second: 0,
      sources: 2,
      groups: 2,
    });
    expect(ratioInterval([1, 1], [0, 1]).high).toBeNull();
    expect(formatRatio(ratioInterval([0, 1], [0, 0]))).toBe("none (0.500 over 0)");
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
      tasks: tasksOf("addresses").map((task) => ({ ...task, length: 40, coherence: true, candidates: 2 })),
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
      for (const { written, missing } of Object.values(judged.infill))
        expect(written).toHaveLength(missing.length);
    }
    const [ours, autoregressive] = task.summary.twins;
    expect([ours.bitsPerByte, ours.exact, autoregressive.exact]).toEqual([null, false, true]);
    expect(ours.channel).toBeGreaterThan(0);
    expect(autoregressive.bitsPerByte).toBeGreaterThan(0);
    expect(task.runs[0].experts!.numExperts).toBe(3);
    expect(task.runs.map(({ quality }) => quality.length)).toEqual([1, 0]);
    expect(task.classifier!.wrong.map(({ kind }) => kind)).toEqual(["same talk", "other talk"]);
    expect(formatSuite(report)).toMatch(/Coherence is a proxy/);

    const began: string[] = [];
    const again = await runSuite({ ...options, onProgress: (what) => began.push(what) });
    expect(began.some((what) => /step \d/.test(what))).toBe(false);
    expect(again).toEqual(report);
    // Other steps for the chart of quality: only those that are missing are written, nothing is trained.
    const more = await runSuite({ ...options, qualitySteps: [3, 1], onProgress: (what) => began.push(what) });
    expect(began.filter((what) => /step \d|writing/.test(what))).toEqual([
      "addresses: moe-diffuseq, seed 1: writing in 3 steps",
    ]);
    expect(more.tasks[0].runs[0].quality.map(({ steps }) => steps)).toEqual([3, 1]);
    expect(more.tasks[0].runs[0].quality[1]).toEqual(task.runs[0].quality[0]);
    // The same results in a folder that was moved: what counts are the pairs, not where they lie.
    const moved = join(out, "moved");
    await mkdir(moved);
    await rename(join(out, "addresses"), join(moved, "addresses"));
    const there = await runSuite({ ...options, out: moved, onProgress: (what) => began.push(what) });
    expect(began.some((what) => /step \d/.test(what))).toBe(false);
    expect(there.tasks[0].summary).toEqual(task.summary);
    // Other sources to judge by: nothing is trained for them.
    const fewer = await runSuite({
      ...options,
      items: 2,
      out: moved,
      onProgress: (what) => began.push(what),
    });
    expect(began.some((what) => /step \d/.test(what))).toBe(false);
    expect(fewer.tasks[0].runs[0].date).toBe(task.runs[0].date);
    expect(fewer.tasks[0].runs[0].judged.scores.bleu).toEqual(task.runs[0].judged.scores.bleu.slice(0, 2));
    // Other settings of generation: nothing is trained for them either, and they are what texts are written by.
    const written: string[] = [];
    const base = configFromLayers([
      { name: "base", config: options.base },
      { name: "drawn", config: { generation: { topK: 1 } } },
    ]);
    const drawn = await runSuite({ ...options, base, out: moved, onProgress: (what) => written.push(what) });
    expect(written.some((what) => /step \d/.test(what))).toBe(false);
    expect(drawn.tasks[0].runs[0].judged.samples).not.toEqual(task.runs[0].judged.samples);
    // What is broken counts for nothing, and is made again.
    const names = await readdir(join(moved, "addresses"));
    const broken = names.find((name) => name.startsWith("autoregressive"))!;
    await truncate(join(moved, "addresses", broken, "suite-training.json"), 100);
    await runSuite({ ...options, out: moved, onProgress: (what) => began.push(what) });
    const trained = began.filter((what) => /step \d/.test(what));
    expect(trained.length).toBeGreaterThan(0);
    for (const what of trained) expect(what).toMatch(/^addresses: autoregressive/);
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
