import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { TensorData } from "../graph/index.js";
import { createDevice, type Device } from "../runtime/index.js";
import { generate } from "./generate.js";
import { roundLogits } from "./rounding.js";
import { rowParts, rowsOf } from "./row-parts.js";
import { tinyModel } from "./testing/tiny-model.js";
import { drawOnHost, logitsOf, TokenDraw } from "./token-draw.js";

/** Rows in a part, where a test says so. */
const most = vi.hoisted(() => ({ rows: 0 }));
vi.mock(import("./row-parts.js"), async (original) => {
  const own = await original();
  return {
    ...own,
    rowParts: (count, vocabSize) => own.rowParts(count, most.rows > 0 ? 2 ** 23 / most.rows : vocabSize),
  };
});

const VOCABULARY = 7;
const logitsOfRows = (rows: number): Float32Array =>
  Float32Array.from({ length: rows * VOCABULARY }, (_, i) => Math.sin(7 * i) * 3);
const uniformsOf = (rows: number, seed: number): Float32Array =>
  Float32Array.from({ length: rows }, (_, i) => (0.37 * (i + seed)) % 1);
const drawOf = (rows: number, seed: number) =>
  new TokenDraw(
    Array.from({ length: rows }, (_, i) => 2 * i),
    uniformsOf(rows, seed),
    (positions, logits, uniforms) => {
      expect(logits.length).toBe(positions.length * VOCABULARY);
      return roundLogits(logits, VOCABULARY, uniforms);
    },
  );

describe("rows in parts", () => {
  it.each([
    [1, 1],
    [2, 1],
    [5, 2],
    [2048, 1],
    [2049, 2],
    [65_536, 32],
  ])(
    "%i rows of 4,096 numbers: %i parts, about equal, none of a single row among several",
    (count, parts) => {
      const vocabSize = count <= 5 ? 2 ** 21 : 4096;
      const found = rowParts(count, vocabSize);
      expect(found).toHaveLength(parts);
      let end = 0;
      for (const part of found) {
        expect(part.first).toBe(end);
        end = part.end;
        expect((part.end - part.first) * vocabSize).toBeLessThanOrEqual(2 ** 23);
        if (count > 1) expect(part.end - part.first).toBeGreaterThan(1);
      }
      expect(end).toBe(count);
    },
  );

  it("are views of what they are cut from", () => {
    const x: TensorData = { dtype: "float32", shape: [3, 2], data: Float32Array.of(0, 1, 2, 3, 4, 5) };
    const { shape, data } = rowsOf(x, { first: 1, end: 3 });
    expect([shape, Array.from(data, Number)]).toEqual([
      [2, 2],
      [2, 3, 4, 5],
    ]);
    expect(data.buffer).toBe(x.data.buffer);
  });
});

describe("a draw on the host", () => {
  it.each([1, 2, 3, 5, 8])("in parts of %i rows is the draw from all rows", async (size) => {
    const draws = [drawOf(3, 1), drawOf(0, 2), drawOf(4, 3)];
    const all = logitsOfRows(8); // the last is nobody's
    async function* parts() {
      for (let row = 0; row < 8; row += size)
        yield all.slice(row * VOCABULARY, Math.min(8, row + size) * VOCABULARY);
    }
    await drawOnHost(draws, parts(), VOCABULARY);
    const uniforms = Float32Array.from([...uniformsOf(3, 1), ...uniformsOf(4, 3)]);
    const whole = roundLogits(all.subarray(0, 7 * VOCABULARY), VOCABULARY, uniforms);
    for (const name of ["ids", "confidence", "margin", "entropy"] as const)
      expect(draws.flatMap(({ tokens }) => [...tokens[name]])).toEqual([...whole[name]]);
  });

  it("asks for no logits where nothing is drawn", async () => {
    const head = vi.fn();
    await drawOnHost([drawOf(0, 1)], logitsOf(rowsHandedOver(2), VOCABULARY, head), VOCABULARY);
    expect(head).not.toHaveBeenCalled();
  });
});

const rowsHandedOver = (rows: number): Record<string, TensorData> => ({
  drawRows: { dtype: "float32", shape: [rows, 1], data: Float32Array.from({ length: rows }, (_, i) => i) },
  drawEnding: { dtype: "int64", shape: [rows], data: new BigInt64Array(rows) },
});
const head = async ({ drawRows }: Readonly<Record<string, TensorData>>): Promise<TensorData> => {
  const data = Float32Array.from(drawRows.data as Float32Array);
  return { dtype: "float32", shape: [data.length, 1], data };
};

describe("logits of rows handed over", () => {
  it("come in order, the next ones asked for before these are looked at", async () => {
    most.rows = 4;
    const asked = vi.fn(head);
    const seen: number[] = [];
    for await (const logits of logitsOf(rowsHandedOver(10), 1, asked)) {
      seen.push(...logits);
      expect(asked.mock.calls.length).toBe(Math.min(3, 1 + Math.ceil(seen.length / 4)));
    }
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    most.rows = 0;
  });

  it("leave no failure unheard when the caller fails first", async () => {
    most.rows = 4;
    let calls = 0;
    const failing = async (feeds: Readonly<Record<string, TensorData>>) => {
      if (calls++ > 0) throw new Error("the second part");
      return head(feeds);
    };
    const read = async () => {
      for await (const _ of logitsOf(rowsHandedOver(10), 1, failing)) throw new Error("the caller");
    };
    await expect(read()).rejects.toThrow("the caller");
    calls = 0;
    const all = async () => {
      for await (const _ of logitsOf(rowsHandedOver(10), 1, failing));
    };
    await expect(all()).rejects.toThrow("the second part");
    most.rows = 0;
  });
});

describe("a text whose logits come in parts", () => {
  let device: Device;
  beforeAll(async () => {
    device = await createDevice("cpu", { threads: 1 });
  });
  afterAll(() => device.dispose());

  it.each([
    ["masked", {}, { release: "confidence" }],
    ["masked", { model: { attention: { globalTokens: 2 } } }, { noRepeatNgram: 2 }],
    ["moe-diffuseq", { diffusion: { conditionDropout: 0.1 } }, { release: "entropy", guidance: 2 }],
    ["moe-diffuseq", {}, { clamp: true, noRepeatNgram: 1, release: "margin" }],
    ["diffuseq", { model: { prediction: "embedding" } }, { clamp: true, noRepeatNgram: 2 }],
  ] as const)(
    "is that of one part, and of logits that the network makes itself: %s %o, %o",
    async (preset, extra, settings) => {
      const model = await tinyModel(device, preset, extra);
      const write = (rows: number) => {
        most.rows = rows;
        return generate(
          model,
          [{ prompt: "the cat", length: 14 }, { infill: "the [MASK:5] mat" }],
          { steps: 5, temperature: 1, ...settings },
          { lengthMultiple: 8 },
        );
      };
      try {
        const texts = await write(4);
        expect(await write(0)).toEqual(texts);
        const denoiser = model.denoiser.bind(model);
        const spy = vi.spyOn(model, "denoiser").mockImplementation((rows, length, step) => {
          expect(step.rounding).toBe("rows");
          return denoiser(rows, length, { ...step, rounding: "logits" });
        });
        expect(await write(4)).toEqual(texts);
        expect(spy).toHaveBeenCalled();
      } finally {
        most.rows = 0;
        await model.dispose();
      }
    },
  );
});
