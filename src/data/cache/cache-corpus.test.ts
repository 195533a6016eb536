/** @file A corpus on the disk answers as the same corpus in memory does, and notices what happens to its files. */
import { appendFileSync, copyFileSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { writeFileAtomic } from "../../hub/durable-file.js";
import { openFilesUnder } from "../../hub/testing/open-files.js";
import { temporaryFolder } from "../../hub/testing/temporary-folder.js";
import { CounterRandom } from "../../random/index.js";
import { type TokenCorpus, tokenizeDocuments } from "../corpus.js";
import { readDocuments } from "../documents.js";
import { RowSource } from "../rows.js";
import { Tokenizer } from "../tokenizer.js";
import { CacheCorpus, openCaches } from "./cache-corpus.js";
import { type PrepareOptions, prepareCache } from "./prepare.js";
import { ShardBuilder } from "./shard.js";
import { ShardReader } from "./shard-reader.js";
import { writeTexts, writeTokenizer } from "./testing/texts.js";

let folder = "";
let data = "";
let tokenizer: Tokenizer;
beforeAll(async () => {
  folder = temporaryFolder();
  data = writeTexts(join(folder, "texts.jsonl"));
  tokenizer = await Tokenizer.load(await writeTokenizer(folder));
  await prepare("cache");
});

async function prepare(name: string): Promise<string> {
  const out = join(folder, name);
  const from = { data: [data], tokenizer: join(folder, "tokenizer.json") };
  await prepareCache({ ...from, out, shardBytes: 1500 });
  return out;
}
const open = async (name: string, layout = {}, times = 1) =>
  new CacheCorpus(await openCaches(Array(times).fill(join(folder, name)), "train"), layout);
const inMemory = (layout = {}, times = 1) =>
  tokenizeDocuments(readDocuments(Array(times).fill(data)), tokenizer, layout);

function expectEqual(onDisk: CacheCorpus, memory: TokenCorpus, order: readonly number[]): void {
  expect([onDisk.size, onDisk.tokens]).toEqual([memory.size, memory.tokens]);
  for (const d of order) {
    const length = memory.length(d);
    expect(onDisk.length(d)).toBe(length);
    expect(onDisk.conditional(d)).toBe(memory.conditional(d));
    expect([...onDisk.given(d)]).toEqual([...memory.given(d)]);
    for (const [start, end] of [
      [0, length],
      [0, length >> 1],
      [length >> 1, length],
      [length - 1, length],
    ]) {
      expect([...onDisk.ids(d, start, end)]).toEqual([...memory.ids(d, start, end)]);
      expect([...onDisk.given(d, start, end)]).toEqual([...memory.given(d, start, end)]);
    }
  }
}

describe("a corpus on the disk", () => {
  it.each([{}, { maxLength: 60 }, { maxLength: 40, padTargets: 300 }, { maxLength: 60, padTargets: 60 }])(
    "has the documents of the corpus in memory, in any order: %j",
    async (layout) => {
      const [onDisk, memory] = [await open("cache", layout, 2), await inMemory(layout, 2)];
      const straight = Array.from({ length: memory.size }, (_, i) => i);
      expectEqual(onDisk, memory, straight);
      const { shortened, unpadded } = memory.counts;
      expect([onDisk.shortened, onDisk.unpadded]).toEqual([shortened, unpadded]);
      expectEqual(onDisk, memory, [...new CounterRandom(3).permutation(memory.size, 1, 0)]);
      onDisk.close();
    },
  );

  it("fills up no target that was cut: its end is none", async () => {
    const [filled, bare] = [await open("cache", { maxLength: 60, padTargets: 60 }), await open("cache")];
    const { pad } = tokenizer.special;
    const pairs = Array.from({ length: filled.size }, (_, d) => d).filter((d) => filled.conditional(d));
    const cut = pairs.filter((d) => filled.length(d) < 60);
    expect(cut.length).toBeGreaterThan(5);
    expect(cut.length).toBeLessThan(pairs.length);
    for (const d of cut) expect(bare.length(d)).toBeGreaterThan(60);
    for (const d of pairs) expect(filled.ids(d).includes(pad)).toBe(bare.length(d) < 60);
    filled.close();
    bare.close();
  });

  it("makes the same rows", async () => {
    const layout = { maxLength: 62 };
    const options = {
      length: 64,
      tokenizer,
      globalTokens: 2,
      textGlobals: "source" as const,
      maxTextGlobals: 3,
      shuffle: new CounterRandom(8),
    };
    const onDisk = new RowSource(await open("cache", layout), options);
    const memory = new RowSource(await inMemory(layout), options);
    expect(onDisk.slots).toEqual(memory.slots);
    expect(onDisk.rowsInEpoch()).toBe(memory.rowsInEpoch());
    for (let i = 0; i < 2 * memory.rowsInEpoch(); i++) expect(onDisk.row(i)).toEqual(memory.row(i));
  });

  it("keeps ids of two and of four bytes, whatever is read after what", async () => {
    let files = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(2 as const, 4 as const),
        fc.array(fc.array(fc.nat(60_000), { maxLength: 30 }), { minLength: 1, maxLength: 20 }),
        fc.array(fc.nat(1000), { minLength: 1, maxLength: 40 }),
        async (idBytes, documents, order) => {
          const raise = idBytes === 4 ? 1 << 20 : 0;
          const wanted = documents.map((ids) => ids.map((id) => id + raise));
          const builder = new ShardBuilder(idBytes, 100);
          for (const ids of wanted) {
            const stored = idBytes === 2 ? Uint16Array.from(ids) : Int32Array.from(ids);
            builder.append(stored, -1, 0, new Uint8Array(32));
          }
          const { chunks, record } = builder.take();
          const file = `shard${files++ % 2}.tokens`;
          const written = await writeFileAtomic(join(folder, file), chunks);
          const shard = { cache: folder, record: { file, ...written, ...record }, request: null as never };
          const reader = new ShardReader([{ ...shard, idBytes }]);
          for (const some of order) {
            const d = some % wanted.length;
            const { start, end, source } = reader.entry(0, d);
            expect(source).toBe(-1);
            expect([...reader.ids(0, start, end)]).toEqual(wanted[d]);
          }
          reader.close();
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe("what a cache says it holds", () => {
  it("does not depend on where its texts lay; of other texts, or with another tokenizer, it is something else", async () => {
    const elsewhere = join(temporaryFolder(), "moved.jsonl");
    copyFileSync(data, elsewhere);
    const vocabulary = join(folder, "tokenizer.json");
    const checksum = async (options: Partial<PrepareOptions>) => {
      const out = join(temporaryFolder(), "cache");
      await prepareCache({ data: [data], tokenizer: vocabulary, shardBytes: 1500, ...options, out });
      const { records } = await openCaches([out], "train");
      return records.map(({ sha256 }) => sha256);
    };
    const [own] = (await openCaches([join(folder, "cache")], "train")).records;
    expect(await checksum({ data: [elsewhere] })).toEqual([own.sha256]);
    // Validation texts are no part of the training texts, and have a checksum of their own.
    expect(await checksum({ valid: [elsewhere] })).toEqual([own.sha256]);
    appendFileSync(elsewhere, '{"text":"more"}\n');
    const others = [await checksum({ data: [elsewhere] }), await checksum({ data: [data, data] })];
    const other = await writeTokenizer(temporaryFolder(), 301);
    others.push(await checksum({ tokenizer: other }));
    expect(new Set([own.sha256, ...others.flat()]).size).toBe(4);
  });
});

describe("files that change", () => {
  it("under a reader: a size or a content that is not the recorded one is named", async () => {
    const out = await prepare("changing");
    const first = join(out, "train-00000.tokens");
    const bytes = readFileSync(first);
    const corpus = await open("changing");
    corpus.ids(0);
    appendFileSync(first, "x");
    expect(() => corpus.ids(1)).toThrow(
      /train-00000.tokens is damaged: it has \d+ bytes, expected \d+.*\n {2}npx moe-diffuseq prepare/,
    );
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(first, bytes);
    expect(() => corpus.ids(2)).toThrow(/train-00000.tokens is damaged: it is not what was written/);
    corpus.close();
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(first, bytes);
    expect(corpus.ids(2).length).toBe(corpus.length(2));
    truncateSync(join(out, "train-00004.tokens"), 40);
    await expect(open("changing")).rejects.toThrow(/train-00004.tokens is damaged: it has 40 bytes/);
  });

  it("an index that is damaged is found when the corpus is opened, ids when they are read", async () => {
    const out = await prepare("flipped");
    const path = join(out, "train-00002.tokens");
    const bytes = readFileSync(path);
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(path, bytes);
    const corpus = await open("flipped");
    expect(() => {
      for (let d = 0; d < corpus.size; d++) corpus.ids(d);
    }).toThrow(/train-00002.tokens is damaged: it is not what was written/);
    bytes[40] ^= 1;
    writeFileSync(path, bytes);
    await expect(open("flipped")).rejects.toThrow(/train-00002.tokens is damaged/);
    corpus.close();
    if (process.platform === "linux") expect(openFilesUnder(out)).toEqual([]);
  });

  it("caches of different tokenizers do not go together", async () => {
    const other = join(folder, "other");
    await prepareCache({ data: [data], vocabSize: 305, out: other });
    await expect(openCaches([join(folder, "cache"), other], "train")).rejects.toThrow(
      /other was made with another tokenizer than .*cache: .* 305 tokens/,
    );
    await expect(openCaches([folder], "train")).rejects.toThrow(/is not a token cache/);
  });
});
