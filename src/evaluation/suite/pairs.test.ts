/** @file Pairs from documents and from files, those held out, and the classifier of next turns that learns from them. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UserError } from "../../errors.js";
import { NextTurnClassifier, wrongTurns } from "./next-turn.js";
import { GAP_MARK, linePairs, piecePairs, sentencePairs, titlePairs, turnPairs } from "./pairs.js";
import { readPairs, requireFiles, suiteNames, suiteTasks, tasksOf } from "./suites.js";

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
    const pairs = [...linePairs(document(code))];
    expect(pairs.length).toBe(5);
    for (const { src, trg } of pairs) {
      expect(trg).toMatch(/^const value\d+ = /);
      expect(src.split(GAP_MARK)).toHaveLength(2);
      expect(code).toContain(src.replace(GAP_MARK, trg));
    }
  });

  it("of pieces of code are every third one, whole lines after what stands before them", () => {
    const lines = Array.from({ length: 200 }, (_, i) => `  const value${i} = ${i} * ${i};`);
    const code = lines.join("\n");
    const pairs = [...piecePairs(document(code))];
    expect(pairs.length).toBe(6);
    for (const { src, trg } of pairs) {
      expect(src).toHaveLength(160);
      expect(code.indexOf(src) + src.length).toBe(code.indexOf(trg) - 2);
      for (const line of trg.split("\n")) expect(lines.map((one) => one.trim())).toContain(line.trim());
      expect(trg.length).toBeGreaterThan(300);
    }
    const [first, second] = pairs.map(({ trg }) => code.indexOf(trg));
    expect(second - first).toBeGreaterThan(2.9 * pairs[0].trg.length);
    expect([...piecePairs(document(`${"x".repeat(2_000)}\n`.repeat(9)))]).toEqual([]);
    expect([...piecePairs(document("short"))]).toEqual([]);
    expect(tasksOf("code").map(({ name }) => name)).toEqual(["code.pieces", "code.lines"]);
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
      valid: [{ src: "Title 4", trg: "Text 4", group: 1 }],
      heldOut: [3, 4].map((i) => ({ src: `Title ${i}`, trg: `Text ${i}`, group: i - 3 })),
    });
    await writeFile(join(folder, "science.abstracts.valid.jsonl"), `{"title": \n${line(3)}`);
    await expect(readPairs(task, folder, limits)).rejects.toThrow(/valid\.jsonl:1: .*--on-bad-record skip/s);
    expect((await readPairs(task, folder, limits, "skip")).valid).toMatchObject([{ src: "Title 3" }]);
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
      [2, "8"],
      [0, "24"],
      [3, "24"],
      [2, "4"],
      [0, "12"],
      [3, "12"],
      [2, "12"],
    ]);
    expect(await readPairs(task, folder, { train: 10, valid: 4 })).toMatchObject({
      valid: valid.slice(0, 4),
    });
    const all = await readPairs(task, folder, { train: 10, valid: 1000 });
    expect(new Set(all.valid.map(({ group, trg }) => `${group} ${trg}`)).size).toBe(11 + 3 + 11);
    expect(all.heldOut.map(({ group }) => group)).toEqual(
      [0, 2, 3].flatMap((g) => Array(g === 2 ? 3 : 11).fill(g)),
    );
  });

  it("are from all over a file of more documents than are judged", async () => {
    const [task] = tasksOf("science");
    const record = (i: number) => ({ title: `Title ${i}`, text: `Text ${i}` });
    await write("science.abstracts.train.jsonl", [record(0)]);
    await write(
      "science.abstracts.valid.jsonl",
      Array.from({ length: 1000 }, (_, i) => record(i)),
    );
    const { valid } = await readPairs(task, folder, { train: 1, valid: 20 });
    const tenths = valid.map(({ group }) => Math.floor(group / 100));
    expect(new Set(valid.map(({ group }) => group)).size).toBe(20);
    for (let tenth = 0; tenth < 10; tenth++)
      expect([1, 2, 3]).toContain(tenths.filter((one) => one === tenth).length);
  });

  it("that ask about one source are one group", async () => {
    const [task] = tasksOf("seq2seq.question-generation");
    const ask = (src: string, trg: string) => ({ src, trg });
    await write("seq2seq.question-generation.train.jsonl", [ask("a", "1")]);
    await write("seq2seq.question-generation.valid.jsonl", [ask("a", "1"), ask("a", "2"), ask("b", "3")]);
    const { valid } = await readPairs(task, folder, { train: 1, valid: 9 });
    expect(valid.map(({ group, trg }) => [group, trg])).toEqual([
      [1, "3"],
      [0, "2"],
      [0, "1"],
    ]);
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
