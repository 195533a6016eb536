import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../data/index.js";
import { parseRecord } from "../data/records.js";
import { exactAccuracy } from "./accuracy.js";
import { copyTask, reverseTask, taskDocuments, taskLines, taskVocabSize } from "./tasks.js";

const wordsOf = (text: string) => text.trim().split(" ");

describe("copyTask and reverseTask", () => {
  it("ask for the source, and for the source backwards", () => {
    const copy = copyTask({ documents: 5, words: 7 });
    const reverse = reverseTask({ documents: 5, words: 7 });
    for (const [i, { src, trg }] of copy.entries()) {
      expect(wordsOf(src)).toHaveLength(7);
      expect(trg).toBe(src);
      expect(reverse[i].src).toBe(src);
      expect(wordsOf(reverse[i].trg)).toEqual(wordsOf(src).reverse());
    }
  });

  it("depend on the seed and the number of the pair alone", () => {
    const all = copyTask({ documents: 10 });
    expect(copyTask({ documents: 4, first: 6 })).toEqual(all.slice(6));
    expect(new Set(all.map(({ src }) => src)).size).toBe(10);
    expect(copyTask({ documents: 10, seed: 2 })[0]).not.toEqual(all[0]);
    const used = new Set(copyTask({ documents: 40, vocabulary: 30 }).flatMap(({ src }) => wordsOf(src)));
    expect(used.size).toBe(30);
  });

  it("end where the numbers of random draws do", () => {
    expect(copyTask({ documents: 2, words: 1, first: 2 ** 32 - 2 })).toHaveLength(2);
    for (const first of [2 ** 32 - 1, -1, 0.5])
      expect(() => copyTask({ documents: 2, first })).toThrow(
        /first: expected an integer from 0 to 4294967294/,
      );
  });

  it.each([64, 51, 105])("have one token a word in a vocabulary made for %i words", async (vocabulary) => {
    const pairs = reverseTask({ documents: 100, vocabulary });
    const texts = pairs.flatMap(({ src, trg }) => [src, trg]);
    const tokenizer = await Tokenizer.train(texts, { vocabSize: taskVocabSize(vocabulary) });
    for (const text of texts) expect(tokenizer.encode(text)).toHaveLength(64);
    expect(taskVocabSize()).toBe(336);
  });

  it("are written as data files hold them", () => {
    const pairs = reverseTask({ documents: 3, words: 4 });
    const lines = Buffer.concat([...taskLines(pairs)])
      .toString()
      .trimEnd()
      .split("\n");
    expect(lines.map((line) => parseRecord(line))).toEqual(pairs.map((fields) => ({ fields })));
  });

  it("are the same bytes in every version", () => {
    const hash = createHash("sha256");
    for (const piece of taskLines(reverseTask({ documents: 9000, words: 3, first: 7, seed: 4 })))
      hash.update(piece);
    expect(hash.digest("hex")).toBe("92be6830f955d988dd88336c79bfc6c2635fb7d716b0a3dc374286227b92e7c5");
  });

  it("are drawn as they are asked for, however many there are", () => {
    const [first] = taskDocuments("copy", { documents: 2 ** 31, words: 5 });
    expect(first).toEqual(copyTask({ documents: 1, words: 5 })[0]);
    let drawn = 0;
    function* counted() {
      for (const document of taskDocuments("copy", { documents: 2 ** 31 })) {
        drawn++;
        yield document;
      }
    }
    const [piece] = taskLines(counted());
    expect(piece.length).toBeLessThan(1e6);
    expect(drawn).toBeLessThan(1e4);
    // Before the first pair, and so before anything is written.
    expect(() => taskDocuments("copy", { documents: 0 })).toThrow(/documents: expected an integer from 1/);
  });

  it("refuse what they cannot make", () => {
    expect(() => copyTask({ documents: 1, words: 0 })).toThrow(/words: expected an integer from 1/);
    expect(() => copyTask({ documents: 1, vocabulary: 5000 })).toThrow(/from 1 to 105, got 5000/);
  });
});

describe("exactAccuracy", () => {
  const pairs = copyTask({ documents: 5, words: 10 });

  it("counts tokens in their place", async () => {
    const asked: string[][] = [];
    const perfect = await exactAccuracy(
      pairs,
      async (sources) => {
        asked.push([...sources]);
        return sources;
      },
      { batchSize: 2 },
    );
    expect(perfect).toMatchObject({ pairs: 5, tokens: 50, tokenAccuracy: 1, exactMatch: 1 });
    for (const [name, full] of Object.entries({ bleu: 100, sentenceBleu: 1, rougeL: 1, chrf: 100 }))
      expect(perfect.scores[name as "bleu"], name).toBeCloseTo(full, 9);
    expect(asked.map((sources) => sources.length)).toEqual([2, 2, 1]);
    const oneWrong = await exactAccuracy(pairs, async (sources) =>
      sources.map((src, i) => (i === 0 ? src.replace(/\w+$/, "nothing") : src)),
    );
    expect(oneWrong).toMatchObject({ pairs: 5, tokens: 50, tokenAccuracy: 0.98, exactMatch: 0.8 });
    expect(oneWrong.scores.rougeL).toBeCloseTo(0.98, 9);
    expect(oneWrong.scores.bleu).toBeLessThan(100);
  });

  it("counts what is missing and what is too much", async () => {
    const pair = [{ src: "s", trg: "a b c d" }];
    const score = async (text: string) => (await exactAccuracy(pair, async () => [text])).tokenAccuracy;
    expect(await score("a b")).toBe(0.5);
    expect(await score("a b c d e")).toBe(0.8);
    expect(await score("b c d")).toBe(0);
    expect(await score("")).toBe(0);
  });

  it("compares any tokens, and insists on a text for each source", async () => {
    const tokensOf = (text: string) => Uint8Array.from(Buffer.from(text));
    const bytes = await exactAccuracy([{ src: "", trg: "abcd" }], async () => ["abxd"], { tokensOf });
    expect(bytes.tokenAccuracy).toBe(0.75);
    expect((await exactAccuracy([], async () => [])).scores.bleu).toBe(0);
    await expect(exactAccuracy(pairs, async () => [])).rejects.toThrow(/expected 5 texts/);
  });
});
