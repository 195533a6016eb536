import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { PartialRunConfig, PresetName } from "../config/index.js";
import { withoutConditions } from "../diffusion/index.js";
import { UserError } from "../errors.js";
import type { TensorData } from "../graph/index.js";
import { CounterRandom } from "../random/index.js";
import { createDevice, type Device } from "../runtime/index.js";
import { onEveryDevice } from "../runtime/testing/devices.js";
import { buildCanvas, type Canvas } from "./canvas.js";
import { generate } from "./generate.js";
import type { DiffusionModel } from "./model.js";
import type { GenerationRequest } from "./request.js";
import { SampleBatch } from "./sample-batch.js";
import { chooseSampler, generationConfig } from "./sampling-settings.js";
import { SamplingProcess, samplingTimes } from "./sampling-times.js";
import { tinyModel } from "./testing/tiny-model.js";

const dropout = { conditionDropout: 0.1 };
const requests: GenerationRequest[] = [
  { src: "the cat sat on" },
  { prompt: "the cat " },
  { suffix: " mat" },
  { infill: "the[MASK:3] cat[MASK:4]" },
];

/** What the network's program yields at the first step. Two steps, so that states are noisy and positions absorbed. */
async function firstOutputs(
  model: DiffusionModel,
  canvases: readonly Canvas[],
  guidance: number,
): Promise<Record<string, TensorData>> {
  const config = generationConfig(model.config, { guidance, steps: 2, release: "confidence" });
  const process = new SamplingProcess(model.config.diffusion);
  const codes = process.gaussian ? await model.hostCodes() : null;
  const setting = {
    process,
    times: samplingTimes(process, 2).map((t) => Math.min(t, 0.6)),
    config,
    sampler: chooseSampler(model.config.diffusion, config),
    random: new CounterRandom(4),
    vocabSize: model.config.model.vocabSize,
    special: model.tokenizer.special,
    codebook: codes?.codebook ?? null,
    absorbing: codes?.absorbing ?? null,
  };
  const plans = canvases.map((canvas, sequence) => ({ canvas, sequence }));
  const batch = await SampleBatch.start(model, setting, plans, { batchSize: 5, length: 24 }, true);
  const run = vi.spyOn(model, "run");
  await batch.advance(1);
  // The network, and what makes logits of its rows.
  const outputs = Object.assign({}, ...(await Promise.all(run.mock.results.map(({ value }) => value))));
  run.mockRestore();
  await batch.release();
  return outputs;
}

/** A canvas whose condition is left out as in training. */
const unconditional = (canvas: Canvas, vocabSize: number): Canvas => ({
  ...canvas,
  row: withoutConditions({ ...canvas.row, sequence: 0 }, vocabSize),
});

const numbers = ({ data }: TensorData): number[] => Array.from(data as Float32Array);

const variants: { name: string; preset: PresetName; extra?: PartialRunConfig }[] = [
  { name: "masked", preset: "masked" },
  { name: "moe-diffuseq", preset: "moe-diffuseq" },
  {
    name: "diffuseq-v2, the head's own prediction",
    preset: "diffuseq-v2",
    extra: { model: { prediction: "embedding" } },
  },
];

onEveryDevice((device) => {
  describe.each(variants)("$name", ({ preset, extra }) => {
    it("is the formula, of two separate runs with and without the condition", async () => {
      const model = await tinyModel(device(), preset, { ...extra, diffusion: dropout });
      const { vocabSize } = model.config.model;
      const canvases = requests.map((request) => buildCanvas(request, model.config, model.tokenizer, 12));
      const conditional = await firstOutputs(model, canvases, 1);
      const without = await firstOutputs(
        model,
        canvases.map((c) => unconditional(c, vocabSize)),
        1,
      );
      const scale = 2.5;
      const guided = await firstOutputs(model, canvases, scale);
      const close = (name: string, accept: (value: number) => boolean) => {
        const [c, u, got] = [conditional, without, guided].map((outputs) => numbers(outputs[name]));
        expect(got).toHaveLength(c.length);
        let largest = 0;
        let moved = 0;
        for (const [i, value] of got.entries()) {
          if (!accept(c[i])) continue;
          largest = Math.max(largest, Math.abs(value - (u[i] + scale * (c[i] - u[i]))));
          moved = Math.max(moved, Math.abs(value - c[i]));
        }
        expect(largest).toBeLessThan(1e-4);
        expect(moved).toBeGreaterThan(1e-3);
      };
      close("drawLogits", (logit) => logit > -1e8);
      if (conditional.x0) close("x0", () => true);

      // Guesses are read off the same logits: where a token is drawn, they are its largest.
      const drawn = numbers(guided.drawLogits);
      const rows = Array.from({ length: drawn.length / vocabSize }, (_, r) =>
        drawn.slice(r * vocabSize, (r + 1) * vocabSize),
      );
      const likeliest = numbers(guided.likeliest);
      for (const row of rows) expect(likeliest.map(Number)).toContain(row.indexOf(Math.max(...row)));
      await model.dispose();
    });
  });
});

describe("guidance", () => {
  let device: Device;
  beforeAll(async () => {
    device = await createDevice("cpu", { threads: 2 });
  });
  afterAll(() => device.dispose());
  const settings = { length: 20, steps: 6, seed: 2 };

  it.each(["masked", "moe-diffuseq"] as const)("%s: 1 is off, others change the text", async (preset) => {
    const model = await tinyModel(device, preset, { diffusion: dropout });
    const plain = await generate(model, requests, settings);
    const programs = vi.spyOn(model, "denoiser");
    expect(await generate(model, requests, { ...settings, guidance: 1 })).toEqual(plain);
    expect(programs.mock.calls.every(([, , { guided }]) => !guided)).toBe(true);
    for (const guidance of [0, 4]) {
      const texts = await generate(model, requests, { ...settings, guidance });
      expect(texts.map(({ text }) => text)).not.toEqual(plain.map(({ text }) => text));
    }
    await model.dispose();
  });

  it("changes nothing where nothing is given, alone and beside others", async () => {
    const model = await tinyModel(device, "masked", { diffusion: dropout });
    const [plain] = await generate(model, { length: 13 }, settings);
    const guided = { ...settings, guidance: 3 };
    expect(await generate(model, { length: 13 }, guided)).toEqual([plain]);
    const among = await generate(model, [...requests, { length: 13 }], guided);
    expect(among[4]).toEqual({ ...plain, request: 4 });
    await model.dispose();
  });

  it("with scale 0 writes as if nothing had been given", async () => {
    const model = await tinyModel(device, "masked", { diffusion: dropout });
    const write = async (src: string, guidance: number) =>
      (await generate(model, { src }, { ...settings, guidance }))[0].text;
    // Three bytes each: targets stand at the same positions.
    expect(await write("xyz", 0)).toBe(await write("qjw", 0));
    expect(await write("xyz", 1)).not.toBe(await write("qjw", 1));
    await model.dispose();
  });

  it("wants a model that was trained with condition dropout", async () => {
    const model = await tinyModel(device, "masked");
    const refused = generate(model, { src: "cat" }, { guidance: 2 });
    await expect(refused).rejects.toThrow(UserError);
    await expect(refused).rejects.toThrow("generation.guidance: expected 1, got 2");
    await expect(refused).rejects.toThrow("diffusion.conditionDropout=0.1");
    const negative = generate(model, {}, { guidance: -1 });
    await expect(negative).rejects.toThrow("generation.guidance: expected at least 0, got -1");
    await model.dispose();
  });
});
