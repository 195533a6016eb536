import { describe, expect, it } from "vitest";
import { CounterRandom, Stream } from "../../random/index.js";
import { evaluate } from "../evaluate.js";
import { input } from "../tensor.js";
import { runOnnx } from "../testing/check.js";
import { drawTokens } from "./draw.js";

const random = new CounterRandom(5);
const floats = (count: number, step: number, kind: "fillNormal" | "fillUniform", scale = 1): Float32Array => {
  const out = new Float32Array(count);
  random[kind](out, Stream.Synthetic, 0, step);
  return out.map((x) => x * scale);
};
/** temperature 0: the likeliest; topK 0: all. */
type Options = Readonly<Record<"temperature" | "topK" | "topP", number>>;
const setting = (name: string, given: boolean) => (given ? input(name, "float32", [1]) : null);
const module = (size: number, { temperature, topK, topP }: Options) => {
  const { id, confidence } = drawTokens(input("logits", "float32", [null, size]), {
    uniform: input("uniform", "float32", [null]),
    temperature: setting("temperature", temperature > 0),
    topK: setting("topK", topK > 0),
    topP: setting("topP", topP < 1),
  });
  return { name: "draw", outputs: { id, confidence } };
};
const tensor = (data: Float32Array, shape = [data.length]) => ({ dtype: "float32" as const, shape, data });
const feedsOf = (logits: Float32Array, uniform: Float32Array, { temperature, topK, topP }: Options) => ({
  logits: tensor(logits, [uniform.length, logits.length / uniform.length]),
  uniform: tensor(uniform),
  temperature: tensor(Float32Array.of(temperature)),
  topK: tensor(Float32Array.of(topK)),
  topP: tensor(Float32Array.of(topP)),
});

const settings: Options[] = [
  { temperature: 1, topK: 0, topP: 1 },
  { temperature: 0, topK: 0, topP: 1 },
  { temperature: 0.8, topK: 0, topP: 0.95 },
  { temperature: 1.7, topK: 5, topP: 1 },
  { temperature: 0.5, topK: 20, topP: 0.6 },
  { temperature: 1, topK: 1, topP: 1 },
  { temperature: 1, topK: 0, topP: 0.01 },
  { temperature: 2, topK: 1000, topP: 0.999 },
];

describe.each(settings)("tokens drawn with %j", (options) => {
  it.each([
    [211, 2],
    [211, 12],
    [1024, 3],
    [1500, 0.3],
  ])("of %i, logits of deviation %d: those of the definition", async (size, scale) => {
    const rows = 16;
    const logits = floats(rows * size, size, "fillNormal", scale);
    // Forbidden ones have next to nothing, and a row may have one token alone.
    for (let v = 0; v < size; v += 5) logits[3 * size + v] = -1e9;
    logits.fill(-1e9, 4 * size, 5 * size);
    logits[4 * size + 77] = 1;
    const uniform = floats(rows, 1, "fillUniform");
    uniform[0] = 0;
    uniform[1] = 1 - 2 ** -24;
    const feeds = feedsOf(logits, uniform, options);
    const exact = evaluate(module(size, options), feeds, {}, { lowered: false });
    const results = {
      lowered: evaluate(module(size, options), feeds, {}, { lowered: true }),
      fast: await runOnnx(module(size, options), feeds),
    };
    expect(exact.id.data[4]).toBe(77);
    for (const [name, { id, confidence }] of Object.entries(results)) {
      // Float32 sums may tip a number that lies between two tokens.
      const differing = Array.from(id.data).filter((x, r) => x !== exact.id.data[r]).length;
      expect(differing, name).toBeLessThanOrEqual(name === "fast" ? 1 : 0);
      for (const [r, x] of id.data.entries()) {
        expect(logits[r * size + x]).toBeGreaterThan(-1e8);
        if (x === exact.id.data[r]) expect(confidence.data[r]).toBeCloseTo(exact.confidence.data[r], 5);
      }
    }
  });

  it("do not depend on the other rows, to the bit", async () => {
    for (const size of [211, 700]) {
      const [rows, own] = [17, 9];
      const logits = floats(rows * size, size, "fillNormal", 1.5);
      const uniform = floats(rows, 2, "fillUniform");
      const all = await runOnnx(module(size, options), feedsOf(logits, uniform, options));
      for (let r = 0; r + 1 < own; r += 3) {
        const some = feedsOf(logits.slice(r * size, (r + 2) * size), uniform.slice(r, r + 2), options);
        const two = await runOnnx(module(size, options), some);
        for (const name of ["id", "confidence"] as const)
          expect(Array.from(two[name].data)).toEqual(Array.from(all[name].data.subarray(r, r + 2)));
      }
    }
  });
});

it("of no rows at all there are no likeliest tokens", async () => {
  const options = { temperature: 0, topK: 0, topP: 1 };
  const feeds = { logits: tensor(new Float32Array(0), [0, 9]), uniform: tensor(new Float32Array(0)) };
  const { id, confidence } = await runOnnx(module(9, options), feeds);
  expect([id.shape, confidence.shape]).toEqual([[0], [0]]);
});

it("refuses uniform numbers that are not one a row", () => {
  expect(() =>
    drawTokens(input("logits", "float32", [4, 9]), {
      uniform: input("uniform", "float32", [3]),
      temperature: input("temperature", "float32", [1]),
      topK: null,
      topP: null,
    }),
  ).toThrow("drawTokens: expected logits [rows, V] and as many uniform numbers [rows], got [4, 9] and [3]");
});
