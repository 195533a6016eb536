/** @file Writing from left to right: every token is drawn from what the model says after those before it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { createDevice, type Device } from "../runtime/index.js";
import { buildCanvas } from "./canvas.js";
import { generate, generateSteps } from "./generate.js";
import { forceToken, tinyModel, tinyTokenizer } from "./testing/tiny-model.js";
import { scoreTexts } from "./text-score.js";

describe("an autoregressive model", () => {
  let device: Device;
  beforeAll(async () => {
    device = await createDevice("cpu", { threads: 1 });
  });
  afterAll(() => device.dispose());
  const greedy = { length: 8, temperature: 0, seed: 5 };

  it("writes one token a step, whatever number of steps is asked for", async () => {
    const model = await tinyModel(device, "autoregressive");
    const written: number[][] = [];
    for await (const { samples } of generateSteps(model, [{}], { ...greedy, steps: 3, earlyStop: "off" }))
      written.push(Array.from(samples[0].settled));
    expect(written).toEqual(
      Array.from({ length: 8 }, (_, k) => Array.from({ length: 8 }, (__, p) => Number(p <= k))),
    );
    await model.dispose();
  });

  it("takes as many steps as it has tokens, also where a block could hold more", async () => {
    const model = await tinyModel(device, "autoregressive");
    const [{ steps }] = await generate(model, {}, { ...greedy, blockLength: 30, earlyStop: "off" });
    expect(steps).toBe(8);
    const told: number[][] = [];
    const blocks = { ...greedy, blockLength: 5, earlyStop: "off" } as const;
    for await (const { block, step, of } of generateSteps(model, [{}], blocks)) told.push([block, step, of]);
    expect(told).toEqual([...[1, 2, 3, 4, 5].map((k) => [1, k, 5]), ...[1, 2, 3].map((k) => [2, k, 3])]);
    await model.dispose();
  });

  it("is as sure as of what it has written, not of what it has not", async () => {
    const [letter] = (await tinyTokenizer()).encode("a");
    const model = await tinyModel(device, "autoregressive", {}, forceToken(letter));
    for await (const { samples } of generateSteps(model, [{}], greedy))
      expect(samples[0].confidence).toBeCloseTo(1, 5);
    await model.dispose();
  });

  it("plans texts beyond number", async () => {
    const model = await tinyModel(device, "autoregressive");
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(generate(model, {}, { ...greedy, num: 200_000 }, { signal })).rejects.toThrow("enough");
    await model.dispose();
  });

  it("takes the likeliest token after those before it at temperature 0", async () => {
    const model = await tinyModel(device, "autoregressive");
    const tokenizer = await tinyTokenizer();
    const [{ ids }] = await generate(model, { prompt: "the cat " }, { ...greedy, length: 10 });
    const start = tokenizer.encode("the cat ").length;
    const canvasOf = (length: number) => buildCanvas({ length }, model.config, tokenizer, length);
    for (let p = start; p < ids.length; p++) {
      const prefix = ids.slice(0, p + 1);
      const others = [1, 7, 40, 101].map((by) => {
        const other = prefix.slice();
        // Among the bytes: special tokens are never written.
        other[p] = 3 + ((other[p] - 3 + by) % 260);
        return other;
      });
      const canvas = canvasOf(p + 1);
      const texts = [prefix, ...others].map((text) => ({ canvas, ids: text }));
      const scores = await scoreTexts(model, texts, { seed: 1, shape: { batchSize: 5, length: 16 } });
      expect(Math.min(...scores), `position ${p}`).toBe(scores[0]);
    }
    await model.dispose();
  });

  it("writes the same text in blocks with the whole text in view, up to the first block's end", async () => {
    const model = await tinyModel(device, "autoregressive", { training: { sequenceLength: 32 } });
    const settings = { length: 12, seed: 5, temperature: 1, topP: 1 };
    const [whole] = await generate(model, {}, settings);
    const [blocks] = await generate(model, {}, { ...settings, blockLength: 6, untilEnd: true });
    expect(Array.from(blocks.ids.slice(0, 6))).toEqual(Array.from(whole.ids.slice(0, 6)));
    const among = await generate(model, [{}, { length: 3 }], { ...settings, blockLength: 6, untilEnd: true });
    expect(among[0].ids).toEqual(blocks.ids);
    await model.dispose();
  });

  it("takes nothing back", async () => {
    const model = await tinyModel(device, "autoregressive");
    await expect(generate(model, {}, { ...greedy, reabsorb: 0.5 })).rejects.toThrow(UserError);
    await model.dispose();
  });
});
