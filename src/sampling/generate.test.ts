import { describe, expect, it } from "vitest";
import type { PartialRunConfig, PresetName } from "../config/index.js";
import { onEveryDevice } from "../runtime/testing/devices.js";
import { generate } from "./generate.js";
import type { GenerationRequest } from "./request.js";
import type { GenerationSettings } from "./sampling-settings.js";
import { forceToken, tinyModel, tinyTokenizer } from "./testing/tiny-model.js";

const tokenizer = await tinyTokenizer();
const [letter] = tokenizer.encode("a");
const { sep, pad, cls } = tokenizer.special;

/** Every process with every sampler it has. */
const variants: {
  name: string;
  preset: PresetName;
  extra?: PartialRunConfig;
  settings?: GenerationSettings;
}[] = [
  { name: "masked, random release", preset: "masked" },
  { name: "masked, release by confidence", preset: "masked", settings: { release: "confidence" } },
  { name: "masked, release by margin", preset: "masked", settings: { release: "margin" } },
  { name: "masked, release by entropy", preset: "masked", settings: { release: "entropy" } },
  {
    name: "masked, release by a threshold",
    preset: "masked",
    settings: { release: "confidence-threshold", confidenceThreshold: 0.05 },
  },
  { name: "masked, left to right", preset: "masked", settings: { release: "left-to-right" } },
  { name: "autoregressive", preset: "autoregressive" },
  {
    name: "autoregressive, window, globals, experts",
    preset: "autoregressive",
    extra: {
      model: { attention: { full: false, window: 2, globalTokens: 2 }, experts: { numExperts: 3 } },
    },
  },
  // From 8 steps on the last layer runs where tokens are drawn.
  { name: "masked, random release, 9 steps", preset: "masked", settings: { steps: 9 } },
  {
    name: "masked, two dilations, guided, reabsorbing, cached, 8 steps",
    preset: "masked",
    extra: { model: { attention: { dilation: [1, 2] } }, diffusion: { conditionDropout: 0.1 } },
    settings: { steps: 8, guidance: 2, reabsorb: 0.4, cacheInterval: 3 },
  },
  { name: "masked, random, reabsorbing", preset: "masked", settings: { reabsorb: 0.4 } },
  {
    name: "masked, by confidence, reabsorbing",
    preset: "masked",
    settings: { release: "confidence", reabsorb: 1 },
  },
  {
    name: "masked, guided",
    preset: "masked",
    extra: { diffusion: { conditionDropout: 0.1 } },
    settings: { guidance: 2 },
  },
  {
    name: "masked, by confidence, repetition held down",
    preset: "masked",
    settings: { release: "confidence", repetitionPenalty: 1.5, repetitionWindow: 4 },
  },
  {
    name: "moe-diffuseq, ddim, guided",
    preset: "moe-diffuseq",
    extra: { diffusion: { conditionDropout: 0.1 } },
    settings: { sampler: "ddim", guidance: 1.5 },
  },
  {
    name: "diffuseq-v2, guided, self-conditioned, clamped",
    preset: "diffuseq-v2",
    extra: { model: { selfConditioning: true }, diffusion: { conditionDropout: 0.1 } },
    settings: { guidance: 3, clamp: true },
  },
  { name: "moe-diffuseq, ancestral", preset: "moe-diffuseq", settings: { sampler: "ancestral" } },
  { name: "moe-diffuseq, ddim", preset: "moe-diffuseq", settings: { sampler: "ddim", eta: 0.5 } },
  {
    name: "moe-diffuseq, dpm-solver++ 2M",
    preset: "moe-diffuseq",
    settings: { sampler: "dpm-solver++", timeGrid: "uniform" },
  },
  {
    name: "moe-diffuseq, dpm-solver++ 3M",
    preset: "moe-diffuseq",
    settings: { sampler: "dpm-solver++", order: 3, timeGrid: "log-snr" },
  },
  {
    name: "moe-diffuseq, dpm-solver++ 2S",
    preset: "moe-diffuseq",
    settings: { sampler: "dpm-solver++", solverMethod: "singlestep", steps: 5, timeGrid: "quadratic" },
  },
  {
    name: "moe-diffuseq, absorbing by confidence",
    preset: "moe-diffuseq",
    settings: { sampler: "absorbing", release: "confidence" },
  },
  {
    name: "moe-diffuseq, dpm-solver++ by a threshold",
    preset: "moe-diffuseq",
    settings: { sampler: "dpm-solver++", release: "confidence-threshold", confidenceThreshold: 0.05 },
  },
  {
    name: "masked, by confidence, reabsorbing, cached",
    preset: "masked",
    settings: { release: "confidence", reabsorb: 1, cacheInterval: 4 },
  },
  {
    name: "masked, guided, cached",
    preset: "masked",
    extra: { diffusion: { conditionDropout: 0.1 } },
    settings: { guidance: 2, cacheInterval: 2 },
  },
  {
    name: "moe-diffuseq, dpm-solver++, two dilations, cached, early stop",
    preset: "moe-diffuseq",
    extra: { model: { attention: { dilation: [1, 2] } } },
    settings: { sampler: "dpm-solver++", timeGrid: "uniform", earlyStop: "on", cacheInterval: 4 },
  },
  {
    name: "diffuseq-v2, guided, self-conditioned, clamped, cached",
    preset: "diffuseq-v2",
    extra: { model: { selfConditioning: true }, diffusion: { conditionDropout: 0.1 } },
    settings: { guidance: 3, clamp: true, cacheInterval: 3 },
  },
  { name: "diffuseq, clamped", preset: "diffuseq", settings: { clamp: true } },
  {
    name: "diffuseq-v2, self-conditioned",
    preset: "diffuseq-v2",
    extra: { model: { selfConditioning: true } },
  },
];

/** Short rows: the reference device is slow. */
const short = { lengthMultiple: 16 };
const settings: GenerationSettings = { length: 12, steps: 4, seed: 3, temperature: 1, topP: 1 };

onEveryDevice((device, kind) => {
  // The reference is slow: one variant of each process.
  const some = variants.filter(
    ({ name }) => kind === "cpu" || /random|ancestral|clamped|autoregressive$/.test(name),
  );
  describe.each(some)("$name", ({ preset, extra, settings: own }) => {
    const config = { ...settings, ...own };

    it("writes what a certain model says, and only that", async () => {
      const model = await tinyModel(device(), preset, extra, forceToken(letter));
      const requests: GenerationRequest[] = [
        {},
        { src: "the cat" },
        { prompt: "the cat " },
        { suffix: " cat" },
        { infill: "the [MASK:3] sat[MASK:2], 東[MASK:1]京" },
      ];
      const texts = await generate(model, requests, config, short);
      const count = (text: string) => 12 - tokenizer.encode(text).length;
      expect(texts.map(({ text }) => text)).toEqual([
        "a".repeat(12),
        "a".repeat(12),
        `the cat ${"a".repeat(count("the cat "))}`,
        `${"a".repeat(count(" cat"))} cat`,
        "the aaa sataa, 東a京",
      ]);
      expect(texts.map(({ ended }) => ended)).toEqual([false, false, false, true, true]);
      await model.dispose();
    });

    it("writes the same text alone, among others, in any batch and with more padding", async () => {
      const model = await tinyModel(device(), preset, extra);
      const request = { prompt: "the cat ", length: 15 };
      const alone = await generate(model, request, config, short);
      const several = await generate(model, request, { ...config, num: 4 }, short);
      expect(several[0]).toEqual(alone[0]);
      expect(new Set(several.map(({ text }) => text)).size).toBe(4);
      const third = await generate(model, { ...request, firstSample: 2 }, config, short);
      expect(third[0].text).toBe(several[2].text);
      const others = [{ src: "mat" }, request, { length: 5 }, { infill: "[MASK:9] the [MASK:4]" }];
      const among = await generate(model, others, { ...config, num: 3 }, { maxBatch: 5, lengthMultiple: 32 });
      expect(among.filter((text) => text.request === 1).map(({ text }) => text)).toEqual(
        several.slice(0, 3).map(({ text }) => text),
      );
      await model.dispose();
    });
  });

  it("writes one text, whatever the seed, where a Gaussian process is given no noise", async () => {
    const model = await tinyModel(device(), "diffuseq");
    for (const sampler of ["ancestral", "ddim", "dpm-solver++"] as const) {
      const write = async (noiseTemperature: number, seed: number) => {
        const cold = { ...settings, sampler, noiseTemperature, seed, temperature: 0, num: 3 };
        return (await generate(model, { length: 12 }, cold, short)).map(({ text }) => text);
      };
      const texts = [...(await write(0, 1)), ...(await write(0, 2))];
      expect(new Set(texts).size).toBe(1);
      expect(new Set([...(await write(1, 1)), ...(await write(1, 2))]).size).toBe(6);
    }
    await model.dispose();
  });

  it("ends the text where the model says so", async () => {
    const model = await tinyModel(device(), "masked", {}, forceToken(sep));
    const texts = await generate(model, [{}, { src: "cat" }, { prompt: "the " }], settings, short);
    expect(texts.map(({ text, ended }) => [text, ended])).toEqual([
      ["", true],
      ["", true],
      ["the ", true],
    ]);
    // Where given text follows, there is no end.
    const [{ text, gaps }] = await generate(model, { infill: "the[MASK:2] cat" }, settings, short);
    expect(text).toBe(`the${gaps[0]} cat`);
    await model.dispose();
  });

  it("never writes [CLS], and [PAD] only where training did", async () => {
    const both = (weights: Record<string, Float32Array>) => {
      forceToken(pad)(weights);
      forceToken(cls)(weights);
      weights.output_bias[letter] = 5e3;
    };
    const plain = await tinyModel(device(), "diffuseq", {}, both);
    expect((await generate(plain, {}, settings, short))[0].text).toBe("a".repeat(12));
    const padding = await tinyModel(device(), "diffuseq", { data: { padTargets: 16 } }, both);
    expect((await generate(padding, {}, settings, short))[0].ids).toEqual(new Int32Array(12).fill(pad));
    expect((await generate(padding, { infill: "[MASK:2]the" }, settings, short))[0].text).toBe("aathe");
    await plain.dispose();
    await padding.dispose();
  });

  it("of a broken model is refused, also where no token is drawn on the way", async () => {
    for (const preset of ["diffuseq", "moe-diffuseq", "masked", "autoregressive"] as const) {
      const model = await tinyModel(device(), preset, {}, (weights) => weights.output_bias.fill(Number.NaN));
      await expect(generate(model, {}, settings, short)).rejects.toThrow(
        /weights of the model are broken, take another checkpoint/,
      );
      await model.dispose();
    }
  });
});
