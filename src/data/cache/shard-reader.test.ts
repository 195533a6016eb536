/** @file What a disk that fails while a shard is read comes to. */
import { fstatSync, readSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { UserError } from "../../errors.js";
import { writeFileAtomic } from "../../hub/durable-file.js";
import { openFilesUnder } from "../../hub/testing/open-files.js";
import { temporaryFolder } from "../../hub/testing/temporary-folder.js";
import { ShardBuilder } from "./shard.js";
import { ShardReader } from "./shard-reader.js";

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  return { ...fs, fstatSync: vi.fn(fs.fstatSync), readSync: vi.fn(fs.readSync) };
});

let path = "";
let reader: ShardReader;
beforeEach(async () => {
  const cache = temporaryFolder();
  const file = "train-00000.tokens";
  path = join(cache, file);
  const builder = new ShardBuilder(2, 100);
  builder.append(Uint16Array.of(7, 8, 9), -1, 0, new Uint8Array(32));
  const { chunks, record } = builder.take();
  const written = await writeFileAtomic(path, chunks);
  const request = { data: ["texts.jsonl"], valid: [], tokenizer: null, vocabSize: 300 } as never;
  reader = new ShardReader([{ cache, record: { file, ...written, ...record }, request, idBytes: 2 }]);
});
afterEach(() => reader.close());

const failing = (code: string) => () => {
  throw Object.assign(new Error(`${code}: as the system says it, read`), { code });
};

it.each([
  ["looked at", fstatSync],
  ["read", readSync],
])("an error while a shard is %s names the shard; trying again opens it anew", (_, call) => {
  expect(reader.entry(0, 0)).toEqual({ start: 0, end: 3, source: -1 });
  vi.mocked(call as unknown as () => void).mockImplementationOnce(failing("EIO"));
  let caught: unknown;
  try {
    reader.ids(0, 0, 3);
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(UserError);
  expect((caught as Error).message).toMatch(/^Cannot read .*: the disk failed, or the connection to it/);
  expect((caught as Error).message).toContain(path);
  if (process.platform === "linux") expect(openFilesUnder(join(path, ".."))).toEqual([]);
  expect([...reader.ids(0, 0, 3)]).toEqual([7, 8, 9]);
});

it("an error that has no explanation names the shard and the command that mends it", () => {
  vi.mocked(readSync as unknown as () => void).mockImplementationOnce(failing("EODD"));
  expect(() => reader.ids(0, 0, 3)).toThrow(
    /train-00000.tokens is damaged: it cannot be read \(EODD: .*\n {2}npx moe-diffuseq prepare/,
  );
});
