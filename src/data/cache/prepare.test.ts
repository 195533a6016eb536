/** @file Token caches: what is in them, and that neither threads nor interruptions nor damage change a bit of it. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import { temporaryFolder } from "../../hub/testing/temporary-folder.js";
import { ownScript } from "../../runtime/own-script.js";
import { type Document, readDocuments } from "../documents.js";
import { Tokenizer } from "../tokenizer.js";
import { readManifest } from "./manifest.js";
import { embeddedSource } from "./part-writer.js";
import { type PrepareOptions, type PrepareProgress, prepareCache } from "./prepare.js";
import { contents, writeTexts, writeTokenizer } from "./testing/texts.js";

let folder = "";
let data = "";
let tokenizer = "";
let whole = "";
/** Some ten shards of some six documents. */
const shardBytes = 1500;
beforeAll(async () => {
  folder = temporaryFolder();
  data = writeTexts(join(folder, "texts.jsonl"));
  tokenizer = await writeTokenizer(folder);
  whole = join(folder, "whole");
  await prepare({ out: whole });
});

const script = ownScript(import.meta.url, "testing/prepare-child");
let serial = 0;
const newOut = () => join(folder, `cache${serial++}`);
function copyOfWhole(): string {
  const out = newOut();
  cpSync(whole, out, { recursive: true });
  return out;
}
const prepare = (options: Partial<PrepareOptions> & { out: string }) =>
  prepareCache({ data: [data], tokenizer, shardBytes, ...options });
const read = async (path: string): Promise<Omit<Document, "source">[]> => {
  const documents = [];
  for await (const { source: _, ...texts } of readDocuments([path])) documents.push(texts);
  return documents;
};
const shardsIn = (path: string) => readdirSync(path).filter((name) => name.endsWith(".tokens"));

describe("a token cache", () => {
  it("holds the texts, and says what they were", async () => {
    expect(await read(whole)).toEqual(await read(data));
    const manifest = await readManifest(whole);
    expect(manifest.complete).toBe(true);
    expect(shardsIn(whole).length).toBeGreaterThan(5);
    const { corpora } = manifest.parts.train.texts!;
    const sha256 = execFileSync("sha256sum", [data], { encoding: "utf8" }).split(" ")[0];
    expect(corpora).toEqual([{ path: data, files: 1, bytes: statSync(data).size, sha256 }]);
    const documents = manifest.parts.train.shards.reduce((sum, shard) => sum + shard.documents, 0);
    expect(documents).toBe(60);
    expect(manifest.parts.train.shards.reduce((sum, shard) => sum + shard.conditional, 0)).toBe(20);
    const vocabulary = await Tokenizer.load(whole);
    const bytes = (await read(data)).flatMap(({ text, src, trg }) => [text, src, trg]);
    expect(manifest.parts.train.shards.reduce((sum, shard) => sum + shard.textBytes, 0)).toBe(
      bytes.reduce((sum, text) => sum + Buffer.byteLength(text ?? ""), 0),
    );
    expect(vocabulary.vocabSize).toBe(300);
  });

  it("does not depend on threads", async () => {
    const out = newOut();
    await prepare({ out, threads: 2 });
    expect(contents(out)).toEqual(contents(whole));
  });

  it("is made of gzip, folders, plain text and other caches; validation texts beside it", async () => {
    const texts = join(folder, "mixed");
    mkdirSync(texts);
    writeFileSync(join(texts, "a.txt"), "plain\n");
    writeFileSync(join(texts, "b.bin"), "\0");
    const gz = join(folder, "texts.jsonl.gz");
    writeFileSync(gz, gzipSync(readFileSync(data)));
    const out = newOut();
    const summary = await prepare({ out, data: [gz, texts, whole], valid: [texts] });
    expect(summary.train).toMatchObject({ documents: 121, conditional: 40, skippedRecords: 0 });
    expect(summary.valid).toMatchObject({ documents: 1, shards: 1 });
    const all = await read(data);
    expect(await read(out)).toEqual([...all, { text: "plain\n" }, ...all]);
    expect((await readManifest(out)).parts.train.texts?.skippedFiles).toBe(1);
    const valid = [];
    for await (const { text } of readDocuments([out], { part: "valid" })) valid.push(text);
    expect(valid).toEqual(["plain\n"]);
  });

  it("is made of the embedded corpus when no texts are named, with its own split", async () => {
    const countOf = async (name: "train" | "valid") => {
      let documents = 0;
      for await (const _ of embeddedSource(name)) documents++;
      return documents;
    };
    expect([await countOf("train"), await countOf("valid")]).toEqual([214, 19]);
    const controller = new AbortController();
    const [out, { signal }] = [newOut(), controller];
    const begun = await prepare({ out, data: [], signal, onProgress: () => controller.abort() });
    expect(begun).toMatchObject({
      interrupted: true,
      command: `npx moe-diffuseq prepare --tokenizer ${tokenizer} --out ${out}`,
    });
    expect(begun.train.documents).toBeGreaterThan(0);
  });

  it("trains a vocabulary on request; the same texts give the same one", async () => {
    const [a, b] = [newOut(), newOut()];
    await prepare({ out: a, tokenizer: null, vocabSize: 320 });
    await prepare({ out: b, tokenizer: null, vocabSize: 320 });
    expect(contents(a)).toEqual(contents(b));
    expect((await Tokenizer.load(a)).vocabSize).toBe(320);
  });

  it("stops at a broken line or counts it", async () => {
    const broken = join(folder, "broken.jsonl");
    writeFileSync(broken, '{"text":"one"}\n{"txt":1}\n{"text":"two"}\n');
    await expect(prepare({ out: newOut(), data: [broken] })).rejects.toThrow(/broken.jsonl:2: expected/);
    const summary = await prepare({ out: newOut(), data: [broken], onBadRecord: "skip" });
    expect(summary.train).toMatchObject({ documents: 2, skippedRecords: 1 });
  });
});

describe("what is left unfinished", () => {
  it("is finished by the same command: finished shards are not written again", async () => {
    const out = newOut();
    const controller = new AbortController();
    const stopped = await prepare({
      out,
      signal: controller.signal,
      onProgress: () => {
        if (shardsIn(out).length >= 4) controller.abort();
      },
    });
    expect(stopped).toMatchObject({ interrupted: true, command: expect.stringContaining(`--out ${out}`) });
    const done = shardsIn(out);
    const times = done.map((name) => statSync(join(out, name)).mtimeMs);
    await expect(readManifest(out)).rejects.toThrow(
      /not complete. To complete it:\n {2}npx moe-diffuseq prepare/,
    );
    const summary = await prepare({ out });
    expect(done.map((name) => statSync(join(out, name)).mtimeMs)).toEqual(times);
    expect(summary.shardsWritten).toBe(summary.train.shards - done.length);
    expect(contents(out)).toEqual(contents(whole));
  });

  it("without its shardBytes, which the cache knows: whole, unfinished or damaged", async () => {
    const own = copyOfWhole();
    expect((await prepare({ out: own, shardBytes: undefined })).shardsWritten).toBe(0);
    const out = newOut();
    const controller = new AbortController();
    const onProgress = () => shardsIn(out).length >= 2 && controller.abort();
    await prepare({ out, signal: controller.signal, onProgress });
    await prepare({ out, shardBytes: undefined });
    expect(contents(out)).toEqual(contents(whole));
    truncateSync(join(out, shardsIn(out)[1]), 50);
    const manifest = join(out, "manifest.json");
    writeFileSync(manifest, readFileSync(manifest, "utf8").replace('"documents": ', '"documents": 1'));
    await prepare({ out, shardBytes: undefined });
    expect(contents(out)).toEqual(contents(whole));
    await expect(prepare({ out, shardBytes: 700 })).rejects.toThrow(
      /holds a token cache with shards of 1500 bytes, got shardBytes 700; leave shardBytes out/,
    );
  });

  it("by kill -9 at any moment: the same command ends in the same bytes", async () => {
    const out = newOut();
    const options = join(folder, "options.json");
    writeFileSync(options, JSON.stringify({ data: [data], tokenizer, shardBytes, out }));
    const lengths: number[] = [];
    for (const lines of [4, 6]) {
      const child = spawn(process.execPath, [...script, options], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const ended = once(child, "exit");
      let seen = 0;
      child.stdout.on("data", (chunk: Buffer) => {
        seen += chunk.toString().split("\n").length - 1;
        if (seen >= lines) child.kill("SIGKILL");
      });
      await ended;
      lengths.push(shardsIn(out).length);
    }
    await prepare({ out });
    expect(contents(out)).toEqual(contents(whole));
    expect(lengths[0]).toBeGreaterThan(0);
    expect(lengths[1]).toBeGreaterThanOrEqual(lengths[0]);
    expect(lengths[1]).toBeLessThan(shardsIn(whole).length);
  });

  it("by a write that fails: says so, keeps what is finished", async () => {
    const out = copyOfWhole();
    const options = join(folder, "options.json");
    // No file may be longer than 1 KiB: what is longer is there before.
    for (const name of shardsIn(out).slice(2)) rmSync(join(out, name));
    writeFileSync(options, JSON.stringify({ data: [data], tokenizer, shardBytes, out }));
    const limited = `ulimit -f 1; exec ${process.execPath} ${script.join(" ")} ${options}`;
    const { status, stderr } = spawnSync("bash", ["-c", limited], { encoding: "utf8" });
    expect(status).not.toBe(0);
    expect(stderr).toMatch(
      /Cannot write .*train-00002.tokens: the file is larger than the file system allows/,
    );
    expect(shardsIn(out)).toHaveLength(2);
    expect((await prepare({ out })).interrupted).toBe(false);
    expect(contents(out)).toEqual(contents(whole));
  });

  it.each([
    ["cut short", (path: string) => truncateSync(path, 100)],
    [
      "with a flipped bit",
      (path: string) => {
        const bytes = readFileSync(path);
        bytes[bytes.length - 3] ^= 4;
        writeFileSync(path, bytes);
      },
    ],
    ["missing", (path: string) => rmSync(path)],
  ])("a shard %s is named by the reader and mended by the same command, alone", async (_, inflict) => {
    const out = copyOfWhole();
    const hurt = join(out, "train-00003.tokens");
    inflict(hurt);
    await expect(read(out)).rejects.toThrow(
      new RegExp(`train-00003.tokens is damaged: .*\n  npx moe-diffuseq prepare --data ${data}`),
    );
    const summary = await prepare({ out });
    expect(summary.shardsWritten).toBe(1);
    expect(contents(out)).toEqual(contents(whole));
    expect((await prepare({ out })).shardsWritten).toBe(0);
  });

  it("a damaged manifest or tokenizer is made again", async () => {
    const out = copyOfWhole();
    const manifest = join(out, "manifest.json");
    writeFileSync(manifest, readFileSync(manifest, "utf8").replace('"documents": ', '"documents": 1'));
    await expect(read(out)).rejects.toThrow(/manifest.json is damaged: it is not what was written/);
    await prepare({ out });
    truncateSync(join(out, "tokenizer.json"), 50);
    await prepare({ out });
    expect(contents(out)).toEqual(contents(whole));
  });
});

describe("what does not fit", () => {
  it("texts that have changed since", async () => {
    const mine = writeTexts(join(folder, "mine.jsonl"));
    const out = newOut();
    await prepare({ out, data: [mine] });
    const before = readFileSync(mine, "utf8");
    writeFileSync(mine, `${before}{"text":"more"}\n`);
    await expect(prepare({ out, data: [mine] })).rejects.toThrow(/The texts have changed since/);
    // The same size, another letter.
    writeFileSync(mine, before.replace("citizens", "Citizens"));
    await expect(prepare({ out, data: [mine] })).rejects.toThrow(/The texts have changed since/);
    rmSync(join(out, "train-00005.tokens"));
    await expect(prepare({ out, data: [mine] })).rejects.toThrow(/The texts have changed since/);
    writeFileSync(mine, before);
    await prepare({ out, data: [mine] });
    expect((await read(out)).length).toBe(60);
  });

  it("a folder in which a file was added, changed or taken away since", async () => {
    const texts = join(folder, "many");
    mkdirSync(texts);
    for (const name of ["a.txt", "b.txt"]) writeFileSync(join(texts, name), name);
    const out = newOut();
    const again = () => prepare({ out, data: [texts] });
    await again();
    const cache = contents(out);
    writeFileSync(join(texts, "c.txt"), "c.txt");
    await expect(again()).rejects.toThrow(/The texts have changed since/);
    rmSync(join(texts, "c.txt"));
    writeFileSync(join(texts, "b.txt"), "B.txt");
    await expect(again()).rejects.toThrow(/The texts have changed since/);
    rmSync(join(texts, "b.txt"));
    await expect(again()).rejects.toThrow(/The texts have changed since/);
    // Written anew as it was: read once more, and the cache stands.
    writeFileSync(join(texts, "b.txt"), "b.txt");
    utimesSync(join(texts, "b.txt"), 1e9, 1e9);
    const checked = async () => {
      const phases = new Set<string>();
      const onProgress = ({ what, bytes }: PrepareProgress) => bytes > 0 && phases.add(what);
      expect((await prepare({ out, data: [texts], onProgress })).shardsWritten).toBe(0);
      return [...phases];
    };
    expect(await checked()).toEqual(["checking"]);
    expect(await checked()).toEqual([]);
    const { "manifest.json": _, ...shards } = cache;
    expect(contents(out)).toMatchObject(shards);
  });

  it.each([
    ["of another format version", /"formatVersion": 1/, '"formatVersion": 2', /format version 2, expected 1/],
    ["cut short", /\n[^\n]*\n$/, "", /not whole JSON.*remove .* or give .* another --out/],
    ["that another command made", /"documentPer": "file"/, '"documentPer": "folder"', /again:\n.*folder/],
  ])("writes nothing over a cache %s", async (_, part, other, message) => {
    const out = copyOfWhole();
    const manifest = join(out, "manifest.json");
    writeFileSync(manifest, readFileSync(manifest, "utf8").replace(part, other));
    const before = contents(out);
    await expect(prepare({ out })).rejects.toThrow(/manifest.json is damaged: /);
    await expect(prepare({ out })).rejects.toThrow(message);
    await expect(read(out)).rejects.toThrow(message);
    expect(contents(out)).toEqual(before);
  });

  it("another command, another tokenizer, a folder of other things, no vocabulary", async () => {
    const out = copyOfWhole();
    await expect(prepare({ out, onBadRecord: "skip" })).rejects.toThrow(
      /was made with\n {2}npx moe-diffuseq prepare/,
    );
    const own = await writeTokenizer(join(folder, "own"));
    const other = newOut();
    await prepare({ out: other, tokenizer: own });
    await writeTokenizer(join(folder, "own"), 310);
    await expect(prepare({ out: other, tokenizer: own })).rejects.toThrow(
      /is not the tokenizer .* was begun with/,
    );
    await expect(prepare({ out: folder })).rejects.toThrow(
      /whose files are read as texts|holds other things/,
    );
    await expect(prepare({ data: [folder], out: join(folder, "inside") })).rejects.toThrow(
      /inside lies in .*, whose files are read as texts/,
    );
    await expect(prepare({ out, tokenizer: null })).rejects.toThrow(/got neither/);
    await expect(prepare({ out, vocabSize: 300 })).rejects.toThrow(/got both/);
  });
});
