import { describe, expect, it } from "vitest";
import { diffusionConfigSchema } from "../config/diffusion-config.js";
import type { Row } from "../data/rows.js";
import type { TensorData } from "../graph/index.js";
import { CounterRandom } from "../random/index.js";
import { type CorruptionConfig, corruptRows } from "./batch.js";
import { BatchBuffers } from "./buffers.js";
import { dropConditions } from "./condition-dropout.js";
import { padRows } from "./padding.js";
import { DiffusionProcess } from "./process.js";

const V = 50;
const D = 3;
const random = new CounterRandom(9);

/** One global token, a given source of two tokens and a target, twice in a row; then padding. */
function makeRow(sequence: number, targets = 7, padding = 0): Row {
  const document = [V, 1, 2, ...Array.from({ length: targets }, (_, i) => 10 + i)];
  const used = 2 * document.length;
  const length = used + padding;
  const ids = Int32Array.from({ length }, (_, p) => (p < used ? document[p % document.length] : 0));
  return {
    sequence,
    ids,
    given: Uint8Array.from({ length }, (_, p) => (p < used && p % document.length >= 3 ? 0 : 1)),
    segment: Int32Array.from({ length }, (_, p) => (p < used ? Math.floor(p / document.length) : -1)),
    position: Int32Array.from({ length }, (_, p) => (p < used ? p % document.length : 0)),
    globals: Int32Array.of(0, 1, document.length),
  };
}

const configs: Record<"soft" | "gaussian" | "masked", CorruptionConfig> = {
  soft: makeConfig({ priorWeight: 1, mseWeight: 1 }),
  gaussian: makeConfig({ absorbRate: 0, noiseScale: 1 }),
  masked: makeConfig({ gaussian: false, absorbRate: 1, schedule: "linear" }),
};
function makeConfig(diffusion: object): CorruptionConfig {
  return { model: { vocabSize: V, embeddingSize: D }, diffusion: diffusionConfigSchema.parse(diffusion) };
}

type Inputs = Record<string, TensorData>;
const values = (inputs: Inputs, name: string) =>
  Array.from(inputs[name].data as ArrayLike<number | bigint>, Number);
const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
/** Row b of every per-position input. */
const rowOf = (inputs: Inputs, b: number, length: number) =>
  Object.fromEntries(
    Object.entries(inputs)
      .filter(([name, { shape }]) => shape.length >= 2 && name !== "globalValid")
      .map(([name, { shape }]) => {
        const [, rowLength, width = 1] = shape;
        const start = b * rowLength * width;
        return [name, values(inputs, name).slice(start, start + length * width)];
      }),
  );

describe.each(["soft", "gaussian", "masked"] as const)("%s", (name) => {
  const config = configs[name];
  const process = new DiffusionProcess(config.diffusion);
  const rows = [makeRow(5), makeRow(6), makeRow(7)];
  const inputs = corruptRows(rows, config, random);
  const N = rows[0].ids.length;

  it("has the inputs of the contract with their shapes", () => {
    const shapes = Object.fromEntries(
      Object.entries(inputs).map(([key, { dtype, shape }]) => [key, [dtype, ...shape]]),
    );
    const perPosition = ["float32", 3, N];
    expect(shapes).toEqual({
      ids: ["int64", 3, N],
      segment: ["int64", 3, N],
      position: ["int64", 3, N],
      given: perPosition,
      globalIndex: ["int64", 9],
      globalValid: ["float32", 3, 3],
      globalSlot: ["int64", 3 * N],
      time: ["float32", 3],
      signal: perPosition,
      sigma: perPosition,
      absorbed: perPosition,
      channel: perPosition,
      ...(config.diffusion.gaussian ? { noise: ["float32", 3, N, D] } : {}),
      ceWeight: perPosition,
      mseWeight: perPosition,
      priorWeight: perPosition,
    });
    for (const { data, shape } of Object.values(inputs))
      expect(data.length).toBe(shape.reduce((a, b) => a * b, 1));
  });

  it("puts every position at the level its flags say", () => {
    rows.forEach((row, b) => {
      const level = process.level(values(inputs, "time")[b]);
      const at = rowOf(inputs, b, N);
      for (let p = 0; p < N; p++) {
        const got = [at.signal[p], at.sigma[p], at.channel[p]];
        const free = [level.signal, level.sigma, level.channel].map(Math.fround);
        expect(got).toEqual(row.given[p] ? [1, 0, 0] : at.absorbed[p] ? [0, 0, 0] : free);
        if (row.given[p])
          expect([at.absorbed[p], at.ceWeight[p], at.mseWeight[p], at.priorWeight[p]]).toEqual([0, 0, 0, 0]);
      }
    });
  });

  it("gives a row the same inputs alone, elsewhere in a batch and padded", () => {
    const padded = padRows([makeRow(11, 4), makeRow(5), makeRow(12, 2)], N + 6, 5);
    const other = corruptRows(padded, config, random, { maxGlobals: 4 });
    const alone = corruptRows([makeRow(5)], config, random);
    for (const [key, expected] of Object.entries(rowOf(alone, 0, N))) {
      const scale = key.endsWith("Weight") ? 3 : 1;
      const compare = (got: number[]) =>
        expect(got.map((x) => x * scale)).toEqual(expected.map((x) => expect.closeTo(x, 6)));
      compare(rowOf(other, 1, N)[key]);
      compare(rowOf(inputs, 0, N)[key]);
    }
    expect(values(other, "time")[1]).toBe(values(alone, "time")[0]);
  });
});

it("weights give the mean over rows of the mean over targets", () => {
  const rows = padRows([makeRow(1, 7), makeRow(2, 3)], 24, 4);
  const inputs = corruptRows(rows, configs.soft, random);
  for (const [b, targets] of [14, 6].entries()) {
    const weights = rowOf(inputs, b, 24).ceWeight.filter((w) => w > 0);
    expect(weights.length).toBe(targets);
    for (const weight of weights) expect(weight).toBeCloseTo(0.5 / targets, 7);
  }
  for (const name of ["ceWeight", "mseWeight"]) expect(sum(values(inputs, name))).toBeCloseTo(1, 5);
  expect(sum(values(inputs, "priorWeight"))).toBeCloseTo(1e-4, 8);
});

it("masked: only absorbed positions count, by 1/t over all targets", () => {
  const rows = [makeRow(1, 40)];
  const inputs = corruptRows(rows, configs.masked, random, { time: 0.5, weighting: "elbo" });
  const absorbed = values(inputs, "absorbed");
  expect(sum(absorbed)).toBeGreaterThan(20);
  expect(sum(absorbed)).toBeLessThan(60);
  expect(values(inputs, "ceWeight")).toEqual(absorbed.map((flag) => Math.fround((flag * 2) / 80)));
});

it("tells a loss-aware sampler what a level weighs, without the importance of the time", () => {
  const draw = (sequence: number) => ({ time: sequence / 8, weight: 5 });
  const timeSampler = { draw, observe: () => {}, state: () => null, restore: () => {} };
  const diffusion = {
    ...configs.masked.diffusion,
    timeSampler: "loss-aware",
    lossWeighting: "elbo",
  } as const;
  const inputs = corruptRows([makeRow(1, 40), makeRow(4, 40)], { ...configs.masked, diffusion }, random, {
    timeSampler,
  });
  expect(values(inputs, "levelWeight")).toEqual([8, 2].map((x) => expect.closeTo(x, 5)));
  expect(Math.max(...rowOf(inputs, 1, 86).ceWeight)).toBeCloseTo((5 * 2) / (80 * 2), 6);
});

it("evaluates at a set time: nested absorption, or none, or all", () => {
  const rows = [makeRow(1, 100)];
  const at = (options: object) => values(corruptRows(rows, configs.soft, random, options), "absorbed");
  const low = at({ time: 0.2 });
  const high = at({ time: 0.9 });
  expect(low.every((flag, p) => high[p] >= flag)).toBe(true);
  expect(sum(low)).toBeLessThan(sum(high));
  expect(sum(at({ time: 0.9, absorbProbability: 0 }))).toBe(0);
  expect(sum(at({ time: 0.1, absorbProbability: 1 }))).toBe(200);
});

it("padding is inert", () => {
  const inputs = corruptRows(padRows([makeRow(3, 2)], 14, 2), configs.soft, random);
  for (let p = 10; p < 28; p++) {
    const at = (name: string) => values(inputs, name)[p];
    expect([at("given"), at("segment"), at("signal"), at("sigma"), at("ceWeight")]).toEqual([1, -1, 1, 0, 0]);
    expect(values(inputs, "noise").slice(p * D, (p + 1) * D)).toEqual([0, 0, 0]);
  }
});

it("tells where global tokens are", () => {
  const inputs = corruptRows(padRows([makeRow(3, 2)], 14, 2), configs.soft, random, { maxGlobals: 4 });
  expect(values(inputs, "globalIndex")).toEqual([0, 1, 5, 0, 14, 14, 14, 14]);
  expect(values(inputs, "globalValid")).toEqual([1, 1, 1, 0, 0, 0, 0, 0]);
  const slots = values(inputs, "globalSlot");
  expect([slots[0], slots[1], slots[5]]).toEqual([1, 2, 3]);
  expect(sum(slots)).toBe(6);
  const none = corruptRows([{ ...makeRow(3), globals: new Int32Array(0) }], configs.soft, random);
  expect(none.globalIndex).toBeUndefined();
});

it("uses arrays again, but not those that were transferred away", () => {
  const buffers = new BatchBuffers();
  const rows = [makeRow(1)];
  const first = corruptRows(rows, configs.soft, random, { buffers });
  const copy = Float32Array.from(first.noise.data as Float32Array);
  const second = corruptRows([makeRow(2)], configs.soft, random, { buffers });
  expect(second.noise.data).toBe(first.noise.data);
  structuredClone(second.noise.data, { transfer: [second.noise.data.buffer as ArrayBuffer] });
  expect(corruptRows(rows, configs.soft, random, { buffers }).noise.data).toEqual(copy);
});

it("leaves out the conditions of some documents", () => {
  let left = 0;
  for (let sequence = 0; sequence < 200; sequence++) {
    const row = makeRow(sequence);
    const dropped = dropConditions(row, 0.3, V, random);
    for (const start of [0, 10]) {
      const source = [1, 2].map((p) => dropped.segment[start + p]);
      const document = start / 10;
      expect([
        [-1, -1],
        [document, document],
      ]).toContainEqual(source);
      if (source[0] === -1) left++;
      expect(dropped.segment[start]).toBe(document);
      expect(dropped.segment[start + 5]).toBe(document);
    }
    expect([...dropped.globals]).toEqual(dropped.segment[1] === -1 ? [0, 10] : [0, 1, 10]);
  }
  expect(left / 400).toBeCloseTo(0.3, 1);
});

it("says what is wrong with rows", () => {
  expect(() => corruptRows([makeRow(1), makeRow(2, 3)], configs.soft, random)).toThrow(
    "padRows makes them equal",
  );
  expect(() => corruptRows([makeRow(1)], configs.soft, random, { maxGlobals: 2 })).toThrow("3 global tokens");
  expect(() => padRows([makeRow(1)], 5)).toThrow("Row 1 has 20 tokens");
  expect(() => corruptRows([], configs.soft, random)).toThrow("at least one row");
  for (const name of ["absorbProbability", "conditionDropout"])
    for (const value of [Number.NaN, -0.1, 1.1])
      expect(() => corruptRows([makeRow(1)], configs.soft, random, { [name]: value })).toThrow(
        `${name}: expected a number from 0 to 1, got ${value}`,
      );
});
