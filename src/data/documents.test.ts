import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { type Document, type ReadOptions, readDocuments } from "./documents.js";
import { embeddedCorpus } from "./embedded.js";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "documents-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

let serial = 0;
/** Writes files into a fresh folder and returns its path. */
async function folderOf(files: Record<string, string | Uint8Array>): Promise<string> {
  const folder = join(root, `case${serial++}`);
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  return folder;
}

async function read(path: string | string[], options?: ReadOptions) {
  const reader = readDocuments([path].flat(), options);
  const documents: Document[] = [];
  for await (const document of reader) documents.push(document);
  return { documents, counts: reader.counts, texts: documents.map(({ text }) => text) };
}

const failure = async (work: Promise<unknown>): Promise<string> => {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UserError);
  return (error as UserError).message;
};

describe("JSON Lines", () => {
  it("reads text, title and pairs, across BOM, CRLF, empty lines and a missing last newline", async () => {
    const folder = await folderOf({
      "a.jsonl":
        '\uFEFF{"text":"one"}\r\n\r\n{"title":"T","text":"two\\nlines"}\n   \n{"src":"s","trg":"t","id":7}',
    });
    const path = join(folder, "a.jsonl");
    const { documents, counts } = await read(path);
    expect(documents).toEqual([
      { source: `${path}:1`, text: "one" },
      { source: `${path}:3`, text: "T\ntwo\nlines" },
      { source: `${path}:5`, src: "s", trg: "t" },
    ]);
    expect(counts).toEqual({ documents: 3, skippedRecords: 0, empty: 0, skippedFiles: 0 });
  });

  it("cuts lines at LF only and joins them over chunks of the stream", async () => {
    const long = "é\u2028x".repeat(200_000);
    const lines = [long, "short", long].map((text) => JSON.stringify({ text })).join("\n");
    const folder = await folderOf({ "a.jsonl": lines, "b.jsonl.gz": gzipSync(lines) });
    for (const name of ["a.jsonl", "b.jsonl.gz"])
      expect((await read(join(folder, name))).texts).toEqual([long, "short", long]);
  });

  it("reads several gzip members in a row", async () => {
    const parts = ["a", "b"].map((text) => gzipSync(`${JSON.stringify({ text })}\n`));
    const folder = await folderOf({ "a.jsonl.gz": Buffer.concat(parts) });
    expect((await read(join(folder, "a.jsonl.gz"))).texts).toEqual(["a", "b"]);
  });

  it.each([
    ["{", "invalid JSON"],
    ["[1]", "got an array"],
    ["null", "got null"],
    ["3", "got a number"],
    ["{}", "got an empty object"],
    ['{"text":3}', '"text" that is a number'],
    ['{"title":[],"text":"x"}', '"title" that is an array'],
    ['{"src":"x"}', 'an object with "src"'],
    ['{"body":"x"}', 'an object with "body"'],
  ])("refuses %s with file and line", async (line, got) => {
    const folder = await folderOf({ "a.jsonl": `{"text":"ok"}\n${line}\n{"text":"ok"}\n` });
    const path = join(folder, "a.jsonl");
    const message = await failure(read(path));
    expect(message).toContain(`${path}:2: expected a JSON object with "text" or with "src" and "trg", got `);
    expect(message).toContain(got);
    expect(message).toContain("; mend the line or pass --on-bad-record skip");
    const { counts } = await read(path, { onBadRecord: "skip" });
    expect(counts).toMatchObject({ documents: 2, skippedRecords: 1 });
  });

  it("refuses bytes that are not UTF-8 and counts records without text", async () => {
    const folder = await folderOf({
      "a.jsonl": Buffer.concat([Buffer.from('{"text":"x'), Buffer.from([0xff]), Buffer.from('"}\n')]),
      "b.jsonl": '{"text":""}\n{"src":" ","trg":""}\n{"text":"x"}\n',
    });
    expect(await failure(read(join(folder, "a.jsonl")))).toContain("a.jsonl:1: expected a JSON object");
    expect((await read(join(folder, "b.jsonl"))).counts).toMatchObject({ documents: 1, empty: 2 });
  });
});

describe("text files and folders", () => {
  it("makes one document of a text file: no BOM, LF line ends, everything else as it stands", async () => {
    const folder = await folderOf({ "a.txt": "\uFEFFa\r\n\r\n  b \r\n", "b.md.gz": gzipSync("# b\n") });
    const { documents } = await read([join(folder, "a.txt"), join(folder, "b.md.gz")]);
    expect(documents.map(({ text }) => text)).toEqual(["a\n\n  b \n", "# b\n"]);
  });

  it("walks a folder in name order and leaves out what is hidden, installed, binary or linked away", async () => {
    const folder = await folderOf({
      "b.ts": "b",
      "a/z.py": "z",
      "a/records.jsonl": '{"text":"r1"}\n{"text":"r2"}\n',
      ".git/config": "hidden",
      "node_modules/x/index.js": "installed",
      "image.png": new Uint8Array([1, 0, 2]),
      "latin1.txt": new Uint8Array([0x61, 0xe9]),
      "empty.txt": "",
      "package.json": "{}",
    });
    await symlink(folder, join(folder, "loop"));
    const { texts, counts } = await read(folder);
    expect(texts).toEqual(["b", "{}", "r1", "r2", "z"]);
    expect(counts).toEqual({ documents: 5, skippedRecords: 0, empty: 1, skippedFiles: 2 });
  });

  it("joins the files of each folder under header lines when a document is a folder", async () => {
    const folder = await folderOf({ "src/a.ts": "a\n", "src/b.ts": "b", "src/c/d.ts": "d", "bin.dat": "\0" });
    const { documents } = await read(folder, { documentPer: "folder" });
    expect(documents).toEqual([
      { source: join(folder, "src"), text: "=== src/a.ts ===\na\n\n=== src/b.ts ===\nb\n" },
      { source: join(folder, "src", "c"), text: "=== src/c/d.ts ===\nd\n" },
    ]);
  });
});

describe("what a user can get wrong", () => {
  it("names the nearest file for a missing one, and the missing folder", async () => {
    const folder = await folderOf({ "train.jsonl": "{}", "other.txt": "x" });
    const message = await failure(read(join(folder, "trian.jsonl")));
    expect(message).toContain(join(folder, "trian.jsonl"));
    expect(message).toContain(`the nearest name there is ${join(folder, "train.jsonl")}`);
    const elsewhere = await failure(read(join(folder, "no", "where.txt")));
    expect(elsewhere).toContain(`there is no ${join(folder, "no")}`);
    expect(elsewhere).toContain(`nothing in ${folder} has a name like it`);
  });

  it("refuses the shards of a token cache that has lost its manifest, or lies among texts", async () => {
    const manifests: Record<string, string>[] = [{}, { "manifest.json": "" }];
    for (const manifest of manifests) {
      const folder = await folderOf({ "tokenizer.json": "{}", "train-00000.tokens": "x", ...manifest });
      expect(await failure(read(folder, { onBadRecord: "skip" }))).toMatch(
        /train-00000.tokens: expected texts, got a shard of a token cache.*make the cache again/,
      );
    }
  });

  it("says why what is there cannot be looked at: links in a circle, links to nothing, a name too long", async () => {
    const folder = await folderOf({ "texts.jsonl": '{"text":"1"}\n' });
    const link = join(folder, "link.jsonl");
    await symlink(link, link);
    expect(await failure(read(link))).toBe(
      `Cannot read ${link}: its symbolic links lead in a circle; mend or remove them.`,
    );
    await symlink(join(folder, "gone.jsonl"), join(folder, "dangling.jsonl"));
    expect(await failure(read(join(folder, "dangling.jsonl")))).toContain(
      "a symbolic link to something that is not there",
    );
    expect(await failure(read(join(folder, "x".repeat(300))))).toContain(
      "longer than the file system allows",
    );
    expect((await read(folder)).texts).toEqual(["1"]);
  });

  it("says so when a path holds no documents", async () => {
    const folder = await folderOf({ "a.jsonl": "", "b.jsonl": "x\n", "c/d.bin": "\0", "e.txt": "\n" });
    expect(await failure(read(join(folder, "a.jsonl")))).toBe(
      `${join(folder, "a.jsonl")} holds no documents`,
    );
    expect(await failure(read(join(folder, "b.jsonl"), { onBadRecord: "skip" }))).toContain(
      "holds no documents (1 broken records skipped)",
    );
    expect(await failure(read(join(folder, "c")))).toMatch(
      /\(1 files that are not UTF-8 text\); of a folder these are read: \.jsonl and \.ndjson .*\.txt, \.md.*\.gz/,
    );
    expect(await failure(read(join(folder, "e.txt")))).toContain("(1 without text)");
    expect(await failure(read([]))).toContain("at least one file or folder");
  });

  it("tells a truncated gzip file, a false one and binary data apart", async () => {
    const lines = Array.from({ length: 20_000 }, (_, i) => JSON.stringify({ text: `${Math.sin(i)}` })).join(
      "\n",
    );
    const whole = gzipSync(lines);
    const folder = await folderOf({
      "cut.jsonl.gz": whole.subarray(0, whole.length >> 1),
      "false.txt.gz": "plain text",
      "data.bin": new Uint8Array([0, 1, 2]),
      "latin1.txt": new Uint8Array([0xe9]),
    });
    expect(await failure(read(join(folder, "cut.jsonl.gz")))).toContain("ends too early");
    const kept = await read(join(folder, "cut.jsonl.gz"), { onBadRecord: "skip" });
    expect(kept.counts.skippedRecords).toBe(1);
    expect(kept.counts.documents).toBeGreaterThan(1000);
    // What was skipped is in the record of what stood on the disk.
    const reader = readDocuments([join(folder, "cut.jsonl.gz")], { onBadRecord: "skip", checksums: true });
    for await (const _ of reader);
    const bytes = whole.length >> 1;
    const sha256 = createHash("sha256").update(whole.subarray(0, bytes)).digest("hex");
    expect(reader.records).toEqual([{ path: join(folder, "cut.jsonl.gz"), files: 1, bytes, sha256 }]);
    expect(await failure(read(join(folder, "false.txt.gz")))).toContain("expected gzip data");
    expect(await failure(read(join(folder, "data.bin")))).toContain("got binary data");
    expect(await failure(read(join(folder, "latin1.txt")))).toContain("iconv");
  });

  it("finds the same documents in a gzip file cut short, however slowly they are taken", async () => {
    const noise = (i: number) => createHash("sha256").update(`${i}`).digest("base64");
    const lines = Array.from({ length: 20_000 }, (_, i) => JSON.stringify({ text: noise(i) })).join("\n");
    const cut = gzipSync(lines).subarray(0, -1000);
    expect(cut.length).toBeGreaterThan(2 << 18); // more than two chunks of the stream
    const folder = await folderOf({ "cut.jsonl.gz": cut });
    const fast = await read(folder, { onBadRecord: "skip" });
    expect(fast.counts.skippedRecords).toBe(1);
    const slow: (string | undefined)[] = [];
    for await (const { text } of readDocuments([folder], { onBadRecord: "skip" }))
      if (slow.push(text) % 1000 === 0) await sleep(10);
    expect(slow.length).toBeGreaterThan(19_000);
    expect(slow).toEqual(fast.texts);
  });

  it("never skips what the system fails to read: the file is whole, the reading is not", async () => {
    const folder = await folderOf({ "a.jsonl": '{"text":"1"}\n', "b.jsonl": "{}", "c.txt": "c" });
    for (const gone of ["b.jsonl", "c.txt"]) {
      const work = async () => {
        for await (const _ of readDocuments([folder], { onBadRecord: "skip", checksums: true }))
          await rm(join(folder, gone), { force: true });
      };
      expect(await failure(work())).toBe(`Cannot read ${join(folder, gone)}: there is no such file.`);
      await writeFile(join(folder, gone), gone);
    }
  });

  it.runIf(process.platform === "linux")("a failing disk stops the reading, named so", async () => {
    for (const name of ["a.jsonl", "a.txt"]) {
      const folder = await folderOf({ "b.txt": "b" });
      await symlink("/proc/self/mem", join(folder, name)); // whose first page is never there: EIO
      const message = await failure(read(folder, { onBadRecord: "skip" }));
      expect(message).toContain(`Cannot read ${join(folder, name)}: the disk failed`);
    }
  });

  it("can be left early and iterated again", async () => {
    const folder = await folderOf({ "a.jsonl": '{"text":"1"}\n{"text":"2"}\n' });
    const reader = readDocuments([folder]);
    for await (const { text } of reader) {
      expect(text).toBe("1");
      break;
    }
    const again: (string | undefined)[] = [];
    for await (const { text } of reader) again.push(text);
    expect(again).toEqual(["1", "2"]);
    expect(reader.counts.documents).toBe(2);
  });
});

describe("the embedded corpus", () => {
  it("has 233 addresses and a fixed split by whole addresses", () => {
    const all = embeddedCorpus();
    const train = embeddedCorpus("train");
    const validation = embeddedCorpus("validation");
    expect(all).toHaveLength(233);
    expect(validation).toHaveLength(19);
    expect(train).toHaveLength(214);
    expect(new Set([...train, ...validation].map(({ source }) => source)).size).toBe(233);
    expect(all[0].text).toMatch(/^George Washington, 1790\nFellow-Citizens of the Senate/);
    expect(all.every(({ text }) => text!.length > 1000)).toBe(true);
  });
});
