import { describe, expect, it } from "vitest";
import type { PartialRunConfig, PresetName } from "../config/index.js";
import { UserError } from "../errors.js";
import { onEveryDevice } from "../runtime/testing/devices.js";
import { generate, generateSteps, type StepEvent } from "./generate.js";
import type { GenerationSettings } from "./sampling-settings.js";
import {
  ChangedRows,
  copyActiveRows,
  drawnShape,
  groupCount,
  groupPositions,
  placeActiveRows,
  placeDrawnRows,
  placeNextRows,
  TextSoFar,
} from "./step-rows.js";
import { tinyModel, tinyRunConfig, tinyTokenizer } from "./testing/tiny-model.js";

describe("rows of a step", () => {
  it("are those that changed, that are wanted, or whose state moves", () => {
    const now = { ids: Int32Array.of(7, 7, 7, 7, 7, 7), absorbed: Uint8Array.of(0, 1, 1, 1, 0, 1) };
    const target = Uint8Array.of(0, 1, 1, 1, 1, 1);
    const masked = new ChangedRows(now, target, false);
    expect(masked.active([5])).toEqual([5]);
    // Released; taken back (re-absorbed).
    now.absorbed[2] = 0;
    now.ids[2] = 9;
    now.absorbed[4] = 1;
    expect(masked.active([])).toEqual([2, 4]);
    masked.seen();
    expect(masked.active([3])).toEqual([3]);
    expect(masked.active("all")).toEqual([1, 2, 3, 4, 5]);
    const moving = new ChangedRows(now, target, true);
    expect(moving.active([5])).toEqual([2, 5]);
  });

  it("of a text from left to right are those up to the next token that nobody has computed", () => {
    const text = new TextSoFar();
    text.seen([3]);
    expect(text.active([4])).toEqual([4]);
    expect(text.active([])).toEqual([]);
    expect(text.active([8])).toEqual([5, 6, 7, 8]);
  });

  it("stand in groups of their own, one a sample", () => {
    const { shape, at, feeds, active } = placeNextRows([4, null, 9], { batchSize: 4, length: 10 }, 2);
    expect(shape).toEqual({ groups: 4, slots: 1, span: 1 });
    expect(Array.from(at)).toEqual([4, -1, 29, -1, 44, -1, 69, -1]);
    expect(Array.from(feeds.activeStart.data, Number)).toEqual([4, 10, 29, 30, 44, 50, 69, 70]);
    expect(active).toEqual([[4], [], [9]]);
    // A row alone has an empty one beside it.
    expect(Array.from(placeNextRows([4], { batchSize: 1, length: 10 }, 1).at)).toEqual([4, -1]);
  });

  it("stand in groups within a span", () => {
    const group = (positions: number[]) => groupPositions(positions, { slots: 3, span: 6 });
    expect(group([])).toEqual([]);
    expect(group([1, 2, 3, 4, 9, 10, 16])).toEqual([[1, 2, 3], [4, 9], [10], [16]]);
    expect([0, 1, 2, 3, 4, 5, 6, 7, 9, 13, 17, 25].map(groupCount)).toEqual([
      1, 1, 2, 3, 4, 6, 6, 8, 12, 16, 24, 32,
    ]);
  });

  it("that tokens are drawn at have a last layer of their own where they are few and known beforehand", () => {
    const shapeOf = (preset: PresetName, generation: GenerationSettings, extra: PartialRunConfig = {}) => {
      const config = tinyRunConfig(preset, extra);
      return drawnShape(config, { ...config.generation, ...generation });
    };
    expect([8, 16, 20, 32, 64, 128].map((steps) => shapeOf("masked", { steps })?.slots)).toEqual([
      64, 32, 32, 16, 8, 8,
    ]);
    expect(shapeOf("masked", { steps: 7 })).toBeNull();
    expect(shapeOf("masked", { steps: 32, release: "confidence" })).toBeNull();
    expect(shapeOf("masked", { steps: 32 }, { model: { selfConditioning: true } })).toBeNull();
    expect(shapeOf("masked", { steps: 32 }, { model: { experts: { router: "expert-choice" } } })).toBeNull();
    expect(shapeOf("moe-diffuseq", { steps: 32 })).toBeNull();
    expect(shapeOf("autoregressive", { steps: 32 })).toBeNull();
    // As many groups whatever is drawn, so that one program serves the steps.
    const place = (draws: number[][]) =>
      placeDrawnRows(draws, { slots: 8, span: 256 }, { batchSize: 2, length: 600 }, 1);
    for (const draws of [[], [[0, 300, 599], []], [[0, 1, 2, 3, 4, 5, 6, 7, 8], [77]]])
      expect(place(draws).shape).toEqual({ groups: 8, slots: 8, span: 256 });
    const short = placeDrawnRows([], { slots: 8, span: 256 }, { batchSize: 4, length: 256 }, 2).shape;
    expect(short).toEqual({ groups: 4, slots: 8, span: 256 });
    expect(Object.keys(place([]).feeds)).toEqual(["drawnRow", "drawnPresent", "drawnStart", "drawnPlace"]);
  });

  it("know their place, twins behind", () => {
    const active = [[2, 3, 8], [], [0, 9]];
    const placed = placeActiveRows(active, { slots: 2, span: 4 }, { batchSize: 3, length: 10 }, 2);
    expect(placed.shape).toEqual({ groups: 4, slots: 2, span: 4 });
    const [row, place, start] = ["activeRow", "activePlace", "activeStart"].map((name) =>
      Array.from(placed.feeds[name].data as BigInt64Array, Number),
    );
    expect(Array.from(placed.at)).toEqual([2, 3, 8, -1, 20, -1, 29, -1, 32, 33, 38, -1, 50, -1, 59, -1]);
    expect(row).toEqual([2, 3, 8, 8, 20, 20, 29, 29, 32, 33, 38, 38, 50, 50, 59, 59]);
    expect(start).toEqual([2, 8, 20, 29, 32, 38, 50, 59]);
    expect(placed.active).toEqual(active);
    for (const [position, slot] of place.entries())
      expect(slot === 0 ? placed.at.includes(position) : placed.at[slot - 1] !== position).toBe(false);
    const copy = new Float32Array(120);
    copyActiveRows(
      Float32Array.from({ length: 120 }, (_, i) => 1 + i),
      placed,
      2,
      copy,
    );
    expect(Array.from(copy, (x, i) => [x, i]).filter(([x]) => x !== 0)).toEqual(
      Array.from(placed.at)
        .filter((position) => position >= 0)
        .sort((a, b) => a - b)
        .flatMap((position) => [0, 1].map((d) => [1 + 2 * position + d, 2 * position + d])),
    );
  });
});

const events = async (steps: AsyncIterable<StepEvent>): Promise<StepEvent[]> => {
  const all: StepEvent[] = [];
  for await (const event of steps) all.push(event);
  return all;
};
const short = { lengthMultiple: 16 };
const settings: GenerationSettings = { length: 36, steps: 8, seed: 5, temperature: 1, topP: 1 };

/** One layer whose keys and values say no more than a position's own token: what is kept is exact. */
const own: PartialRunConfig = {
  model: { numLayers: 1, inputConvolution: 1, timeConditioning: false },
};
const exact: { preset: PresetName; extra?: GenerationSettings }[] = [
  { preset: "masked" },
  { preset: "masked", extra: { release: "entropy", reabsorb: 0.5 } },
  { preset: "moe-diffuseq", extra: { sampler: "dpm-solver++" } },
  { preset: "diffuseq-v2", extra: { sampler: "ddim", clamp: true } },
];

onEveryDevice((device, kind) => {
  it.each(exact)(
    "$preset $extra: exact where keys say nothing of other positions",
    async ({ preset, extra }) => {
      const model = await tinyModel(device(), preset, own);
      const requests = [{ prompt: "the cat " }, { src: "mat" }, { infill: "[MASK:7] the [MASK:11] cat" }];
      const write = (cacheInterval: number) =>
        generate(model, requests, { ...settings, ...extra, steps: 4, cacheInterval }, short);
      const plain = await write(1);
      expect(await write(3)).toEqual(plain);
      await model.dispose();
    },
  );

  it("are told of, step by step", async () => {
    if (kind === "reference") return;
    const model = await tinyModel(device(), "masked");
    const given = (await tinyTokenizer()).encode("the cat ").length;
    const request = { prompt: "the cat " };
    const all = model.globalSlots + 36;
    const count = async (more: GenerationSettings) => {
      const steps = await events(generateSteps(model, [request], { ...settings, ...more }, short));
      expect(steps.at(-1)!.finished).toEqual(await generate(model, request, { ...settings, ...more }, short));
      return steps.map(({ computed }) => computed);
    };
    expect(await count({})).toEqual(new Array(8).fill(all));
    const random = await count({ cacheInterval: 4 });
    expect(random[0]).toBe(all);
    expect(random[4]).toBe(all);
    // What was released since the full run, and what is released now: more from step to step.
    for (const i of [1, 2, 3]) {
      expect(random[i]).toBeLessThan(36 - given);
      if (i > 1) expect(random[i]).toBeGreaterThanOrEqual(random[i - 1]);
    }
    const ranked = await count({ cacheInterval: 4, release: "confidence" });
    expect(ranked.slice(1, 4)).toEqual(new Array(3).fill(36 - given));
    await model.dispose();
  });

  it("blocks: the text before the block is computed once in so many steps", async () => {
    if (kind === "reference") return;
    const model = await tinyModel(device(), "moe-diffuseq", {
      training: { sequenceLength: 60 },
      diffusion: { absorbRate: 0 },
    });
    const blocks = { ...settings, blockLength: 8, contextLength: 12, steps: 4, cacheInterval: 4 };
    const steps = await events(generateSteps(model, [{}], blocks, short));
    const later = steps.filter(({ block, step }) => block > 2 && block < 5 && step > 1);
    expect(later.map(({ computed }) => computed)).toEqual(new Array(6).fill(8));
    const [alone] = await generate(model, {}, blocks, short);
    const [, among] = await generate(model, [{ prompt: "the cat" }, {}], blocks, { lengthMultiple: 64 });
    expect(among).toEqual({ ...alone, request: 1 });
    expect(steps.at(-1)!.finished).toEqual([alone]);
    await model.dispose();
  });
});

describe("caching", () => {
  it.each([{ router: "expert-choice" }, { capacityFactor: 1 }] as const)("refuses %o", async (experts) => {
    const { createDevice } = await import("../runtime/index.js");
    const device = await createDevice("reference");
    const model = await tinyModel(device, "masked", { model: { experts } });
    const refused = generate(model, {}, { cacheInterval: 2 });
    await expect(refused).rejects.toThrow(UserError);
    await expect(refused).rejects.toThrow("generation.cacheInterval: expected 1, got 2; with");
    await device.dispose();
  });
});
