import { createHash } from "node:crypto";
import type * as fsPromises from "node:fs/promises";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { UserError } from "../errors.js";
import { writeFileAtomic } from "./durable-file.js";

/** Bytes the pretended disk still takes; Infinity: the real one. */
const disk = vi.hoisted(() => ({ free: Number.POSITIVE_INFINITY }));

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof fsPromises>();
  return {
    ...real,
    async open(...parameters: Parameters<typeof real.open>) {
      const handle = await real.open(...parameters);
      const write = handle.write.bind(handle) as (data: Uint8Array) => Promise<{ bytesWritten: number }>;
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

it("explains a folder that is not there as it is", async () => {
  await expect(writeFileAtomic(join(folder, "none", "file"), "x")).rejects.toThrow("ENOENT");
});
