import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import {
  readSafetensors,
  readSafetensorsHeader,
  type SafetensorsTensor,
  writeSafetensors,
} from "./safetensors.js";

const folder = mkdtempSync(join(tmpdir(), "safetensors-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, "model.safetensors");

/** A file with the header `header` (padded with spaces to `padTo` bytes) and `data` behind it. */
function craft(header: unknown, data: number[] = []): void {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  writeFileSync(path, Buffer.concat([length, json, Uint8Array.from(data)]));
}

async function fault(): Promise<string> {
  const error = await readSafetensors(path).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(UserError);
  return (error as Error).message;
}

const sample: Record<string, SafetensorsTensor> = {
  flags: { shape: [3], data: Uint8Array.of(1, 2, 3) },
  weight: { shape: [2, 3], data: Float32Array.of(1, -2.5, Number.NaN, Number.POSITIVE_INFINITY, -0, 1e-45) },
  ids: { shape: [2], data: BigInt64Array.of(-1n, 2n ** 62n) },
  counts: { shape: [], data: Int32Array.of(-7) },
  none: { shape: [0, 4], data: new Float32Array(0) },
};

describe("safetensors", () => {
  it("gives back what was written, bit for bit", async () => {
    await writeSafetensors(path, sample, { format: "pt" });
    const { tensors, metadata } = await readSafetensors(path);
    expect(metadata).toEqual({ format: "pt" });
    expect(Object.keys(tensors).sort()).toEqual(Object.keys(sample).sort());
    for (const [name, { shape, data }] of Object.entries(sample)) {
      expect(tensors[name].shape).toEqual(shape);
      expect(tensors[name].data.constructor).toBe(data.constructor);
      expect(Buffer.from(tensors[name].data.buffer)).toEqual(
        Buffer.from(data.buffer, data.byteOffset, data.byteLength),
      );
    }
  });

  it("gives back any names and shapes", async () => {
    const tensor = fc.array(fc.nat(3), { maxLength: 3 }).map((shape) => ({
      shape,
      data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i / 3),
    }));
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string(), tensor, { maxKeys: 4 }), async (tensors) => {
        await writeSafetensors(path, tensors);
        const { tensors: back } = await readSafetensors(path);
        expect(new Map(Object.entries(back))).toEqual(new Map(Object.entries(tensors)));
      }),
      { numRuns: 40 },
    );
  });

  it("writes the published layout, numbers aligned to 8 bytes, and only views of the data given", async () => {
    const whole = Float32Array.of(9, 1, 2, 9);
    await writeSafetensors(path, { a: { shape: [2], data: whole.subarray(1, 3) } });
    const bytes = readFileSync(path);
    const length = Number(bytes.readBigUInt64LE(0));
    expect(length % 8).toBe(0);
    expect(JSON.parse(bytes.toString("utf8", 8, 8 + length))).toEqual({
      a: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
    });
    expect([bytes.readFloatLE(8 + length), bytes.readFloatLE(12 + length), bytes.length]).toEqual([
      1,
      2,
      16 + length,
    ]);
  });

  it("reads a hand-made file whose tensors are in any order", async () => {
    craft(
      {
        b: { dtype: "U8", shape: [1], data_offsets: [4, 5] },
        a: { dtype: "I32", shape: [1], data_offsets: [0, 4] },
      },
      [1, 1, 0, 0, 7],
    );
    const { tensors } = await readSafetensors(path);
    expect([tensors.a.data[0], tensors.b.data[0]]).toEqual([257, 7]);
  });

  it("reads single tensors and names the one that is not there", async () => {
    await writeSafetensors(path, sample);
    expect(Object.keys((await readSafetensors(path, { names: ["ids"] })).tensors)).toEqual(["ids"]);
    await expect(readSafetensors(path, { names: ["idz"] })).rejects.toThrow('has no tensor "idz"');
    expect((await readSafetensorsHeader(path)).entries.weight).toMatchObject({ dtype: "F32", shape: [2, 3] });
  });

  it("says at every length of a cut file that it is cut, and what is missing", async () => {
    await writeSafetensors(path, sample);
    const whole = readFileSync(path);
    for (let length = 0; length < whole.length; length += 5) {
      writeFileSync(path, whole);
      truncateSync(path, length);
      expect(await fault()).toContain("is cut short");
    }
    writeFileSync(path, whole.subarray(0, -1));
    expect(await fault()).toContain(
      `expected ${whole.length} bytes, got ${whole.length - 1} (1 missing, from tensor "flags"`,
    );
  });

  it.each<[string, unknown, number[], string]>([
    ["a header that is not JSON", "{", [], "header is not JSON"],
    ["a list for a header", [], [], "header is no object"],
    ["a tensor that is a number", { a: 3 }, [], 'tensor "a" lacks dtype'],
    [
      "a dtype we do not read",
      { a: { dtype: "F16", shape: [1], data_offsets: [0, 2] } },
      [0, 0],
      'tensor "a" is F16',
    ],
    [
      "a dtype named like a method",
      { a: { dtype: "toString", shape: [], data_offsets: [0, 1] } },
      [0],
      "is toString",
    ],
    ["a negative size", { a: { dtype: "U8", shape: [-1], data_offsets: [0, 1] } }, [0], "has shape [-1]"],
    [
      "offsets that do not fit the shape",
      { a: { dtype: "F32", shape: [2], data_offsets: [0, 4] } },
      [0, 0, 0, 0],
      "needs 8 bytes, its offsets span 4",
    ],
    [
      "a hole",
      { a: { dtype: "U8", shape: [1], data_offsets: [1, 2] } },
      [0, 0],
      "begins at byte 1, expected 0",
    ],
    [
      "an overlap",
      {
        a: { dtype: "U8", shape: [2], data_offsets: [0, 2] },
        b: { dtype: "U8", shape: [2], data_offsets: [1, 3] },
      },
      [0, 0, 0],
      "begins at byte 1, expected 2",
    ],
    ["bytes left over", { a: { dtype: "U8", shape: [1], data_offsets: [0, 1] } }, [0, 0], "1 bytes follow"],
    ["metadata that is not text", { __metadata__: { a: 1 } }, [], "__metadata__"],
  ])("refuses %s", async (_, header, data, message) => {
    craft(header, data);
    expect(await fault()).toContain(message);
  });

  it("refuses other files without reading what they promise", async () => {
    writeFileSync(path, "this is no tensor file at all");
    expect(await fault()).toContain("not a safetensors file");
    await expect(readSafetensors(join(folder, "none"))).rejects.toThrow("there is no such file");
    await expect(readSafetensors(folder)).rejects.toThrow(UserError);
  });

  it("refuses data that does not fit its shape, and leaves the old file and no temporary one", async () => {
    await writeSafetensors(path, sample);
    const before = readFileSync(path);
    await expect(writeSafetensors(path, { a: { shape: [2], data: Float32Array.of(1) } })).rejects.toThrow(
      "wants 2 values, got 1",
    );
    expect(readFileSync(path)).toEqual(before);
    expect(readdirSync(folder)).toEqual(["model.safetensors"]);
  });
});
