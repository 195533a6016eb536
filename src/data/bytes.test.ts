import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { fileChunks, fileLines, readTextFile } from "./bytes.js";

const folder = mkdtempSync(join(tmpdir(), "bytes-"));
afterAll(() => rmSync(folder, { recursive: true }));

it.each([7, 300_000])(
  "a line of more than %i bytes is one that is too long; those after it are read",
  async (most) => {
    const path = join(folder, "lines.txt");
    const [fits, long] = ["x".repeat(most), "y".repeat(3 * most + 1)];
    writeFileSync(path, ["a", long, fits, "", `${fits}z`, "b", long].join("\n"));
    const lines = [];
    for await (const line of fileLines(path, undefined, most)) lines.push(line);
    const tooLong = expect.stringContaining(`a line of more than ${most} bytes`);
    expect(lines).toEqual([
      { line: 1, text: "a" },
      { line: 2, got: tooLong },
      { line: 3, text: fits },
      { line: 4, text: "" },
      { line: 5, got: tooLong },
      { line: 6, text: "b" },
      { line: 7, got: tooLong },
    ]);
  },
);

describe("gzip data", () => {
  const [one, two] = ["one\n".repeat(200_000), "two\n"];
  /** More than a chunk of the stream. */
  const zeros = Buffer.alloc(1 << 19);
  async function read(name: string, parts: Buffer[]) {
    const path = join(folder, name);
    const bytes = Buffer.concat(parts);
    writeFileSync(path, bytes);
    const seen: Buffer[] = [];
    const chunks: Buffer[] = [];
    for await (const chunk of fileChunks(path, (part) => seen.push(Buffer.from(part)))) chunks.push(chunk);
    expect(Buffer.concat(seen).equals(bytes)).toBe(true);
    return Buffer.concat(chunks).toString();
  }

  it.each([0, 1, 511, zeros.length])(
    "with %i zeros behind it is read whole, and every byte is told",
    async (n) => {
      expect(await read("padded.gz", [gzipSync(one), gzipSync(two), zeros.subarray(0, n)])).toBe(one + two);
    },
  );

  it("that ends where a chunk of the stream does is read whole, zeros behind it or none", async () => {
    const stored = (text: Buffer) => gzipSync(text, { level: 0 });
    let length = (1 << 18) - 64;
    while (stored(Buffer.alloc(length, 65)).length < 1 << 18) length++;
    const member = stored(Buffer.alloc(length, 65));
    expect(member.length).toBe(1 << 18);
    const text = "A".repeat(length);
    expect(await read("edge.gz", [member, zeros.subarray(0, 9)])).toBe(text);
    expect(await read("edge.gz", [member, member, gzipSync(two)])).toBe(text + text + two);
    await expect(read("edge.gz", [member, zeros.subarray(0, 9), member])).rejects.toThrow(UserError);
  });

  it.each([
    ["another member", gzipSync(two)],
    ["text", Buffer.from("text")],
  ])("with zeros and then %s is refused: what came behind them would be lost", async (_, behind) => {
    const whole = gzipSync(one);
    for (const n of [1, zeros.length]) {
      const reading = read("mixed.gz", [whole, zeros.subarray(0, n), behind]);
      await expect(reading).rejects.toThrow(UserError);
      await expect(reading).rejects.toThrow(
        `mixed.gz: expected nothing behind the ${whole.length} bytes of its gzip data, got zeros and more`,
      );
    }
  });
});

describe("a text file by itself", () => {
  const path = join(folder, "text.txt");
  it("is read as texts to train on are: no byte order mark, LF line ends, gunzipped", async () => {
    writeFileSync(path, "\uFEFFa\r\nb \r\n");
    expect(await readTextFile(path)).toBe("a\nb \n");
    writeFileSync(`${path}.gz`, gzipSync("c\r\n"));
    expect(await readTextFile(`${path}.gz`)).toBe("c\n");
  });

  it("that is none is called what it is for", async () => {
    const read = () => readTextFile(path, `the draft ${path}`);
    for (const [bytes, why] of [
      ["a\0", "expected UTF-8 text, got binary data"],
      [Buffer.from([0xe9]), "expected UTF-8 text, got another encoding; convert it"],
    ] as const) {
      writeFileSync(path, bytes);
      await expect(read()).rejects.toThrow(`the draft ${path}: ${why}`);
    }
    rmSync(path);
    await expect(read()).rejects.toThrow(
      new UserError(`Cannot read the draft ${path}: there is no such file.`),
    );
  });
});
