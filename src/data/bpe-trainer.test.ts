import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { UserError } from "../errors.js";
import { trainMerges, WordCounter } from "./bpe-trainer.js";
import { BYTE_TO_CHARACTER, CHARACTER_TO_BYTE, detached, forEachWord } from "./byte-level.js";
import { embeddedCorpus } from "./embedded.js";
import { Tokenizer } from "./tokenizer.js";

const counted = (texts: Iterable<string>): WordCounter => {
  const counter = new WordCounter();
  for (const text of texts) counter.add(text);
  return counter;
};

const wordsOf = (text: string): string[] => {
  const words: string[] = [];
  forEachWord(text, (word) => words.push(word));
  return words;
};

it("cuts a text into words that together are the text", () => {
  expect(wordsOf("It's  2 words,\n  ok? ")).toEqual([
    "It",
    "'s",
    " ",
    " 2",
    " words",
    ",",
    "\n ",
    " ok",
    "?",
    " ",
  ]);
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => wordsOf(text).join("") === text));
});

it("cuts a long text at the same places, whatever the pieces it is read in", () => {
  const line = "Some text, it's 12 words\n\tand   more  -- é日本\u3000x. ";
  const long = line.repeat(5000);
  const expected = long.match(/'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu);
  expect(wordsOf(long)).toEqual(expected);
  expect(wordsOf("日本語".repeat(50_000))).toHaveLength(1);
});

it("has one character for each byte", () => {
  expect(new Set(BYTE_TO_CHARACTER).size).toBe(256);
  expect(BYTE_TO_CHARACTER.every((character, byte) => CHARACTER_TO_BYTE.get(character) === byte)).toBe(true);
  expect(BYTE_TO_CHARACTER[0x20]).toBe("Ġ");
  expect(BYTE_TO_CHARACTER[0x0a]).toBe("Ċ");
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => detached(text) === text));
});

/** Byte-pair encoding by recounting everything after each merge. */
function naiveMerges(words: ReadonlyMap<string, number>, rounds: number): string[][] {
  const encoder = new TextEncoder();
  const split = [...words].map(([word, count]) => ({
    count,
    parts: [...encoder.encode(word)].map((byte) => BYTE_TO_CHARACTER[byte]),
  }));
  const order = [...BYTE_TO_CHARACTER].sort();
  const merges: string[][] = [];
  while (merges.length < rounds) {
    const pairs = new Map<string, { count: number; pair: string[]; rank: number }>();
    for (const { parts, count } of split)
      for (let i = 0; i + 1 < parts.length; i++) {
        const pair = [parts[i], parts[i + 1]];
        const rank = order.indexOf(pair[0]) * 1e6 + order.indexOf(pair[1]);
        const entry = pairs.get(pair.join(" ")) ?? { count: 0, pair, rank };
        entry.count += count;
        pairs.set(pair.join(" "), entry);
      }
    const best = [...pairs.values()].sort((a, b) => b.count - a.count || a.rank - b.rank)[0];
    if (best === undefined) break;
    merges.push(best.pair);
    const [left, right] = best.pair;
    if (!order.includes(left + right)) order.push(left + right);
    for (const word of split) {
      const joined: string[] = [];
      for (let i = 0; i < word.parts.length; i++) {
        const hit = word.parts[i] === left && word.parts[i + 1] === right;
        joined.push(hit ? left + right : word.parts[i]);
        if (hit) i++;
      }
      word.parts = joined;
    }
  }
  return merges;
}

it("finds the merges of the naive algorithm", async () => {
  const text = "aaaa aaab banana bandana ababab low lower lowest newest widest \n\n    indented\n    again";
  const counter = counted([text, "banana aaaa é日本 日本"]);
  const { merges } = await trainMerges(counter, 40);
  expect(merges).toEqual(naiveMerges(counter.counts, merges.length));
});

it("finds the merges of Hugging Face's trainer", async () => {
  const { BPE, Tokenizer: Native, byteLevelPreTokenizer } = await import("@anush008/tokenizers");
  const lines = embeddedCorpus()
    .slice(0, 3)
    .map(({ text }) => text!.replaceAll("\n", " "));
  const folder = await mkdtemp(join(tmpdir(), "bpe-"));
  try {
    const file = join(folder, "text.txt");
    // Its trainer reads line by line, newline included.
    await writeFile(file, lines.map((line) => `${line}\n`).join(""));
    const native = new Native(BPE.empty());
    native.setPreTokenizer(byteLevelPreTokenizer(false, true));
    native.train([file]);
    native.save(join(folder, "out.json"));
    const saved = JSON.parse(await readFile(join(folder, "out.json"), "utf8"));
    const { merges } = await trainMerges(counted(lines.map((line) => `${line}\n`)), 3000);
    expect(merges).toEqual(saved.model.merges.slice(0, merges.length));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

it("learns white space across line ends", async () => {
  const { tokens } = await trainMerges(counted(["if x:\n    return y\n".repeat(20)]), 12);
  expect(tokens).toContain("ĊĠĠĠ");
});

it("says how much a text can give when it is too small", async () => {
  const work = trainMerges(counted(["abc"]), 10);
  await expect(work).rejects.toThrow(UserError);
  await expect(work).rejects.toThrow(/10 merges, got 3 characters, which hold 2; .*smaller by 8/);
  await expect(work).rejects.toThrow(
    /use model.vocabSize 261 \(train: --set model.vocabSize=261; .*--vocab-size 261\)/,
  );
  // And that is a size that works.
  expect((await Tokenizer.train(["abc"], { vocabSize: 261 })).vocabSize).toBe(261);
  await expect(Tokenizer.train(["abc"], { vocabSize: 262 })).rejects.toThrow(/model.vocabSize 261/);
});

it("keeps no word that is too long to learn from", () => {
  const text = `ab ${"x".repeat(1 << 20)} ${"y".repeat(1023)} ${"z".repeat(1024)}`;
  const counter = counted([text]);
  expect([...counter.counts.keys()]).toEqual(["ab", ` ${"y".repeat(1023)}`]);
  expect(counter.characters).toBe(text.length);
});

it("forgets the rarest words where there are too many", () => {
  const counter = new WordCounter(8);
  for (const word of ["a", "b", "a", "b", "a", "c", "d", "e", "f", "g", "h", "i"]) counter.add(word);
  expect(Object.fromEntries(counter.counts)).toEqual({ a: 3, b: 2 });
});
