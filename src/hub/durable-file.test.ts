import { createHash } from "node:crypto";
import type * as fsPromises from "node:fs/promises";
import { mkdtemp, readdir, readFile, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { explainReadError, UserError } from "../errors.js";
import {
  damageOfFile,
  explainWriteError,
  makeFolder,
  requireWritable,
  writeFileAtomic,
} from "./durable-file.js";

/** Bytes the pretended disk still takes; Infinity: the real one. */
const disk = vi.hoisted(() => ({ free: Number.POSITIVE_INFINITY }));
/** What the pretended system answers instead of doing it; "": it does. */
const answers = vi.hoisted(() => ({ stat: "", syncFolder: "" }));

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof fsPromises>();
  const fail = (code: string) => {
    throw Object.assign(new Error(`${code}: as the system says it`), { code });
  };
  return {
    ...real,
    stat: (async (...parameters: Parameters<typeof real.stat>) =>
      answers.stat ? fail(answers.stat) : real.stat(...parameters)) as typeof real.stat,
    async open(...parameters: Parameters<typeof real.open>) {
      const handle = await real.open(...parameters);
      const write = handle.write.bind(handle) as (data: Uint8Array) => Promise<{ bytesWritten: number }>;
      if (answers.syncFolder && (await handle.stat()).isDirectory())
        Object.assign(handle, { sync: async () => fail(answers.syncFolder) });
      Object.assign(handle, {
        async write(data: Uint8Array) {
          if (disk.free === 0)
            throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
          const { bytesWritten } = await write(data.subarray(0, disk.free)); // a full disk first writes a part
          disk.free -= bytesWritten;
          return { bytesWritten };
        },
      });
      return handle;
    },
  };
});

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "durable-"));
});
afterAll(() => rm(folder, { recursive: true }));

it("writes chunks larger than one write, and reports size and checksum", async () => {
  const content = Buffer.alloc(3 * (1 << 20) + 5, "abcdefg");
  const path = join(folder, "big");
  const written = await writeFileAtomic(path, [content.subarray(0, 10), content.subarray(10)]);
  expect(written).toEqual({
    bytes: content.length,
    sha256: createHash("sha256").update(content).digest("hex"),
  });
  expect((await readFile(path)).equals(content)).toBe(true);
  await rm(path);
});

it("leaves the old file and no temporary one when the disk is full", async () => {
  const path = join(folder, "file.json");
  await writeFileAtomic(path, "old");
  disk.free = 3;
  const error = await writeFileAtomic(path, "newer").catch((caught: unknown) => caught);
  disk.free = Number.POSITIVE_INFINITY;
  expect(error).toBeInstanceOf(UserError);
  expect((error as Error).message).toContain(`Cannot write ${path}: the disk is full; free some space`);
  expect(await readFile(path, "utf8")).toBe("old");
  expect(await readdir(folder)).toEqual(["file.json"]);
});

it("explains what cannot be written, and names the flag that says where", async () => {
  const file = join(folder, "file.json");
  const long = join(folder, "n".repeat(250));
  const cases: [string, string][] = [
    [join(folder, "none", "file"), "there is no such folder, and none can be made there"],
    [folder, "what stands there is not a file"],
    [join(file, "b"), "a part of the path is a file, not a folder"],
    [long, "the name is longer than the file system allows"],
  ];
  for (const [path, why] of cases)
    expect(await writeFileAtomic(path, "x", "--report").catch((error: unknown) => error)).toEqual(
      new UserError(`Cannot write ${path}: ${why}; write somewhere else with --report.`),
    );
  expect((await readdir(folder)).sort()).toEqual(["file.json"]);
});

it.each(["EIO", "ESTALE", "ETIMEDOUT", "EMFILE", "ENFILE", "EBUSY", "ENXIO"])(
  "explains %s of a file that is read and of one that is written, and names it",
  (code) => {
    const error = Object.assign(new Error(`${code}: as the system says it`), { code });
    for (const [explained, begin] of [
      [explainReadError(error, "texts.jsonl"), "Cannot read texts.jsonl: "],
      [explainWriteError(error, "texts.jsonl"), "Cannot write texts.jsonl: "],
    ] as const) {
      expect(explained).toBeInstanceOf(UserError);
      expect((explained as Error).message.startsWith(begin)).toBe(true);
      expect((explained as Error).message).not.toContain(code);
    }
  },
);

it("says before the work whether a file can be written after it", async () => {
  await requireWritable(join(folder, "new", "deep", "a.json"));
  expect(await readdir(join(folder, "new", "deep"))).toEqual([]);
  const file = join(folder, "file.json");
  await requireWritable(file);
  expect(await readFile(file, "utf8")).toBe("old");
  await expect(requireWritable(folder, "--report")).rejects.toThrow(
    "not a file; write somewhere else with --report",
  );
  await expect(requireWritable(join(folder, "n".repeat(250)))).rejects.toThrow("the name is longer than");
  await expect(requireWritable(join(file, "b"))).rejects.toThrow(`${file} is a file, not a folder.`);
});

it("makes folders, and says where none can be made", async () => {
  const made = join(folder, "a", "b", "c");
  expect(await Promise.all([makeFolder(made), makeFolder(made)])).toContain(join(folder, "a"));
  expect(await makeFolder(made)).toBe(undefined);
  const file = join(folder, "file.json");
  await expect(makeFolder(file)).rejects.toThrow(`${file} is a file, not a folder.`);
  await expect(makeFolder(join(file, "b", "c"))).rejects.toThrow("a part of the path is a file");
});

it("names a link to nowhere where folders are to be made", async () => {
  const link = join(folder, "link");
  await symlink(join(folder, "gone"), link);
  for (const path of [link, join(link, "run")])
    await expect(makeFolder(path)).rejects.toThrow(
      `Cannot write ${path}: ${link} is a symbolic link to a place that is not there; make the folder it leads to, or remove it, ` +
        "or write somewhere else with --out.",
    );
  await rm(link);
});

it("does without forcing a folder to the disk where its file system cannot, not where the disk fails", async () => {
  const path = join(folder, "file.json");
  for (const code of ["EINVAL", "ENOTSUP", "EBADF", "EPERM"]) {
    answers.syncFolder = code;
    await writeFileAtomic(path, code);
    expect(await readFile(path, "utf8")).toBe(code);
  }
  answers.syncFolder = "EIO";
  await expect(writeFileAtomic(path, "x")).rejects.toThrow(`Cannot write ${path}: the disk failed`);
  answers.syncFolder = "";
});

it.runIf(process.platform === "linux")(
  "does not wait for ever where the system makes no folders",
  async () => {
    await expect(makeFolder("/proc/moe-diffuseq/run")).rejects.toThrow(
      "Cannot write /proc/moe-diffuseq/run: there is no such folder, and none can be made there",
    );
  },
);

it("a file that cannot be read is damaged", async () => {
  const expected = await writeFileAtomic(join(folder, "whole"), "text");
  expect(await damageOfFile(folder, "whole", expected)).toBeNull();
  await makeFolder(join(folder, "no-file"));
  const { size } = await stat(join(folder, "no-file"));
  expect(await damageOfFile(folder, "no-file", { ...expected, bytes: size })).toMatch(
    /^no-file cannot be read \(EISDIR/,
  );
});

it("a file that cannot be read now may be whole: that is an error, and no damage", async () => {
  const expected = await writeFileAtomic(join(folder, "whole"), "text");
  for (const code of ["EACCES", "EIO", "EMFILE", "ESTALE"]) {
    answers.stat = code;
    const error = await damageOfFile(folder, "whole", expected).catch((caught: unknown) => caught);
    answers.stat = "";
    expect(error).toBeInstanceOf(UserError);
    expect((error as Error).message).toMatch(/^Cannot read .*whole: /);
  }
  expect(await damageOfFile(folder, "gone", expected)).toBe("gone is missing");
  expect(await damageOfFile(join(folder, "whole"), "inside", expected)).toBe("inside is missing");
});
