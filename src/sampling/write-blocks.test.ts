import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { PartialRunConfig, PresetName } from "../config/index.js";
import type { Tokenizer } from "../data/tokenizer.js";
import { UserError } from "../errors.js";
import { createDevice, type Device } from "../runtime/index.js";
import { PLACEHOLDER } from "./canvas-text.js";
import { generate, generateSteps, type StepEvent } from "./generate.js";
import type { GenerationSettings } from "./sampling-settings.js";
import { forceToken, tinyModel, tinyTokenizer } from "./testing/tiny-model.js";

let device: Device;
let tokenizer: Tokenizer;
beforeAll(async () => {
  device = await createDevice("cpu", { threads: 1 });
  tokenizer = await tinyTokenizer();
});
afterAll(() => device.dispose());

/** A model of windows of 3 in 2 layers, 3 taps: it reaches 7 positions. */
const trained = (extra: PartialRunConfig = {}): PartialRunConfig => ({
  training: { sequenceLength: 60 },
  ...extra,
});
const settings: GenerationSettings = { length: 50, steps: 3, seed: 3, temperature: 1, topP: 1 };
const short = { lengthMultiple: 8 };

async function eventsOf(events: AsyncIterable<StepEvent>): Promise<StepEvent[]> {
  const all: StepEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

const variants: { name: string; preset: PresetName; settings?: GenerationSettings; model?: object }[] = [
  { name: "masked", preset: "masked" },
  {
    name: "masked, by confidence, reabsorbing",
    preset: "masked",
    settings: { release: "confidence", reabsorb: 0.4 },
  },
  { name: "moe-diffuseq, ancestral", preset: "moe-diffuseq" },
  {
    name: "moe-diffuseq, 3M, early stop",
    preset: "moe-diffuseq",
    settings: { sampler: "dpm-solver++", order: 3, timeGrid: "log-snr", earlyStop: "on" },
  },
  { name: "diffuseq, clamped", preset: "diffuseq", settings: { clamp: true } },
  { name: "diffuseq-v2, self-conditioned", preset: "diffuseq-v2", model: { selfConditioning: true } },
  { name: "masked, sinusoidal positions", preset: "masked", model: { positionEmbedding: "sinusoidal" } },
  {
    name: "moe-diffuseq, the source global",
    preset: "moe-diffuseq",
    model: { attention: { textGlobals: "source", maxTextGlobals: 3 } },
  },
];

describe.each(variants)("$name", ({ preset, settings: own, model: extra = {} }) => {
  const config = { ...settings, ...own };

  it("one block is the text without blocks", async () => {
    const model = await tinyModel(device, preset, trained({ model: extra }));
    const requests = [
      {},
      { prompt: "the cat " },
      { src: "the cat" },
      { infill: "the [MASK:3] sat[MASK:2]." },
    ];
    const whole = await generate(model, requests, { ...config, num: 2, length: 20 }, short);
    const one = await generate(model, requests, { ...config, num: 2, length: 20, blockLength: 20 }, short);
    expect(one).toEqual(whole);
    expect(one.every(({ blocks }) => blocks === 1)).toBe(true);
    await model.dispose();
  });

  it("the same text alone, among others, in any batch and with more padding", async () => {
    const model = await tinyModel(device, preset, trained({ model: extra }));
    const blockwise = { ...config, blockLength: 8, contextLength: 12, num: 3 };
    const request = { prompt: "the cat ", length: 30 };
    const [alone] = await generate(model, request, { ...blockwise, num: 1 }, short);
    const several = await generate(model, request, blockwise, short);
    expect(several[0]).toEqual(alone);
    expect(new Set(several.map(({ text }) => text)).size).toBe(3);
    const others = [{ src: "mat", length: 12 }, request, { length: 41 }, { length: 5 }];
    const among = await generate(model, others, blockwise, { maxBatch: 5, lengthMultiple: 64 });
    expect(among.filter((text) => text.request === 1)).toEqual(
      several.map((text) => ({ ...text, request: 1 })),
    );
    const given = tokenizer.encode("the cat ").length;
    expect(alone.blocks).toBe(Math.ceil((30 - given) / 8));
    if (config.earlyStop !== "on") expect(alone.steps).toBe(alone.blocks * 3);
    await model.dispose();
  });
});

describe("a text in blocks", () => {
  it("has the number of tokens asked for, far beyond the trained length", async () => {
    const model = await tinyModel(device, "masked", trained());
    const compile = vi.spyOn(device, "compile");
    const long = { ...settings, steps: 2, blockLength: 16, length: 1500 };
    const [text] = await generate(model, { prompt: "the cat" }, long, short);
    expect(compile).toHaveBeenCalledOnce();
    compile.mockRestore();
    // The last block may end the text.
    expect(text.blocks).toBe(94);
    expect(text.ids.length).toBeGreaterThan(1500 - 16);
    expect(text.ids.length === 1500 || text.ended).toBe(true);
    expect(text.text.startsWith("the cat")).toBe(true);
    expect(text.text).toBe(
      `the cat${tokenizer.decode(text.ids.subarray(tokenizer.encode("the cat").length))}`,
    );
    await model.dispose();
  });

  it("has other random numbers in every block", async () => {
    // Without context, all canvases are the same.
    for (const preset of ["masked", "moe-diffuseq", "diffuseq"] as const) {
      const model = await tinyModel(device, preset, trained());
      const blocks = { ...settings, length: 160, blockLength: 16, contextLength: 0 };
      const [{ ids }] = await generate(model, {}, blocks, short);
      const block = (k: number) => ids.slice(16 * k, 16 * k + 16).join();
      expect(new Set(Array.from({ length: 9 }, (_, k) => block(k))).size).toBe(9);
      await model.dispose();
    }
  });

  it("depends on the tokens in view, and on no others", async () => {
    const model = await tinyModel(device, "moe-diffuseq", trained());
    const write = async (prompt: string, contextLength: number) => {
      const blocks = { ...settings, length: 30, blockLength: 8, contextLength };
      const [{ gaps, ids }] = await generate(model, { prompt }, blocks, short);
      expect(ids.length).toBeGreaterThan(22);
      return gaps[0];
    };
    const [one, other] = ["xhhhhh", "mhhhhh"];
    expect(tokenizer.encode(one).length).toBe(6);
    expect(tokenizer.encode(other).length).toBe(6);
    expect(await write(one, 5)).toBe(await write(other, 5));
    expect(await write(one, 6)).not.toBe(await write(other, 6));
    await model.dispose();
  });

  it("needs no more in view than attention reaches, where there are no globals", async () => {
    const model = await tinyModel(
      device,
      "masked",
      trained({ model: { attention: { globalTokens: 0 }, experts: { numExperts: 0 } } }),
    );
    // One step without chance, so that positions on the canvas play no part but in attention.
    const certain = { ...settings, temperature: 0, steps: 1, blockLength: 8 };
    const write = async (contextLength?: number) =>
      (await generate(model, { prompt: "the Zoë" }, { ...certain, contextLength }, short))[0].text;
    const reached = await write();
    expect(await write(7)).toBe(reached);
    expect(await write(30)).toBe(reached);
    expect(await write(2)).not.toBe(reached);
    await model.dispose();
  });

  it("continues a source: it stays in view", async () => {
    const model = await tinyModel(device, "moe-diffuseq", trained());
    const blocks = { ...settings, length: 40, blockLength: 8, contextLength: 4 };
    const texts = await generate(model, [{ src: "the cat" }, { src: "the mat" }], blocks, short);
    const tail = ({ ids }: (typeof texts)[number]) => ids.slice(24).join();
    expect(tail(texts[0])).not.toBe(tail(texts[1]));
    const sure = await tinyModel(device, "moe-diffuseq", trained(), forceToken(tokenizer.encode("a")[0]));
    const [{ text, ended }] = await generate(sure, { src: "the cat", prompt: "the " }, blocks, short);
    expect(text).toBe(`the ${"a".repeat(40 - tokenizer.encode("the ").length)}`);
    expect(ended).toBe(false);
    await model.dispose();
    await sure.dispose();
  });

  it("ends where the model ends it: in the last block, or in any with untilEnd", async () => {
    const [a] = tokenizer.encode("a");
    const { sep } = tokenizer.special;
    // [SEP] wherever it may stand, else "a".
    const model = await tinyModel(device, "masked", trained(), (weights) => {
      forceToken(sep)(weights);
      weights.output_bias[a] = 5e3;
    });
    const blocks = { ...settings, length: 30, blockLength: 8 };
    const [counted] = await generate(model, {}, blocks, short);
    expect(counted).toMatchObject({ text: "a".repeat(24), ended: true, blocks: 4, steps: 12 });
    const texts = await generate(
      model,
      [{ prompt: "the ", length: 30 }, { length: 30 }],
      { ...blocks, untilEnd: true },
      short,
    );
    expect(texts.map(({ text, ended, blocks, steps }) => [text, ended, blocks, steps])).toEqual([
      ["the ", true, 1, 3],
      ["", true, 1, 3],
    ]);
    await model.dispose();
  });

  it("leaves the batch when it is done, the others go on", async () => {
    const model = await tinyModel(device, "masked", trained());
    const blocks = { ...settings, blockLength: 8, untilEnd: true, num: 12, steps: 2 };
    const events = await eventsOf(generateSteps(model, [{}], blocks, { ...short, maxBatch: 12 }));
    const { finished } = events[events.length - 1];
    expect(events.slice(0, -1).every((event) => event.finished.length === 0)).toBe(true);
    expect(finished.map(({ sample }) => sample)).toEqual([...Array(12).keys()]);
    expect(new Set(finished.map(({ blocks }) => blocks)).size).toBeGreaterThan(1);
    for (const { block, samples } of events)
      expect(samples.map(({ sample }) => sample)).toEqual(
        finished.filter(({ blocks }) => blocks >= block).map(({ sample }) => sample),
      );
    for (const { sample, ended, ...text } of finished) {
      expect(ended || text.ids.length === 50).toBe(true);
      const [alone] = await generate(model, { firstSample: sample }, { ...blocks, num: 1 }, short);
      expect(alone).toEqual({ ...text, sample, ended });
    }
    await model.dispose();
  });

  it("is told block by block: what is settled before it, and the block itself", async () => {
    // Bytes alone, so that characters are cut at every turn.
    const model = await tinyModel(device, "masked", trained());
    const blocks = { ...settings, blockLength: 8, length: 44, earlyStop: "off" } as const;
    const events = await eventsOf(generateSteps(model, [{ prompt: "the 東" }], blocks, short));
    const given = tokenizer.encode("the 東").length;
    const count = Math.ceil((44 - given) / 8);
    expect(events.map(({ block, blocks, step, of }) => [block, blocks, step, of])).toEqual(
      Array.from({ length: 3 * count }, (_, i) => [Math.floor(i / 3) + 1, count, (i % 3) + 1, 3]),
    );
    let settled = "";
    for (const { block, step, samples, finished } of events) {
      const [{ before, text, ids, settled: flags }] = samples;
      expect(before).toBe(settled);
      expect(flags.length).toBe(ids.length);
      if (block === 1) expect(text.startsWith("the 東")).toBe(true);
      else expect(ids.length).toBe(block < count ? 8 : 44 - given - 8 * (count - 1));
      if (step === 1) expect(text).toContain(PLACEHOLDER);
      if (step === 3) settled += text;
      if (finished.length > 0) expect(finished[0].text).toBe(settled);
    }
    expect(events[events.length - 1].finished).toEqual(
      await generate(model, { prompt: "the 東" }, blocks, short),
    );
    await model.dispose();
  });

  it("may have a character across two blocks", async () => {
    const bytes = tokenizer.encode("東");
    expect(bytes.length).toBe(3);
    const model = await tinyModel(device, "masked", trained(), (weights) => {
      for (const id of bytes) weights.output_bias[id] = 1e4;
    });
    const blocks = { ...settings, length: 60, blockLength: 4 };
    const [{ text, ids }] = await generate(model, {}, blocks, short);
    expect(ids.every((id) => bytes.includes(id))).toBe(true);
    expect(text).toBe(tokenizer.decode(ids));
    // By chance, some character does stand across two blocks, and is whole.
    const across = Array.from({ length: 14 }, (_, k) => tokenizer.decode(ids.subarray(4 * k, 4 * k + 8)));
    const cut = Array.from({ length: 14 }, (_, k) =>
      [4 * k, 4 * k + 4].map((at) => tokenizer.decode(ids.subarray(at, at + 4))).join(""),
    );
    expect(across.some((whole, k) => whole !== cut[k])).toBe(true);
    await model.dispose();
  });

  it("stops within a step when the signal says so, in a later block too", async () => {
    const model = await tinyModel(device, "moe-diffuseq", trained());
    const stopper = new AbortController();
    const seen: string[] = [];
    const run = async () => {
      const options = { ...short, signal: stopper.signal };
      for await (const { block, step } of generateSteps(
        model,
        [{}],
        { ...settings, blockLength: 8 },
        options,
      )) {
        seen.push(`${block}.${step}`);
        if (block === 3 && step === 1) stopper.abort(new Error("enough"));
      }
    };
    await expect(run()).rejects.toThrow("enough");
    expect(seen).toEqual(["1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "3.1"]);
    expect(await generate(model, {}, { ...settings, blockLength: 8 }, short)).toHaveLength(1);
    await model.dispose();
  });

  it("settles block by block: each stops early by itself", async () => {
    const model = await tinyModel(device, "masked", trained());
    const quick = {
      ...settings,
      steps: 8,
      blockLength: 8,
      release: "confidence-threshold",
      confidenceThreshold: 0.02,
    } as const;
    const [stopped] = await generate(model, {}, quick, short);
    const [whole] = await generate(model, {}, { ...quick, earlyStop: "off" }, short);
    expect(whole.steps).toBe(8 * 7);
    expect(stopped.steps).toBeLessThan(8 * 7);
    expect(stopped.steps).toBeGreaterThanOrEqual(7);
    expect({ ...stopped, steps: 0 }).toEqual({ ...whole, steps: 0 });
    const events = await eventsOf(generateSteps(model, [{}], quick, short));
    expect(events.length).toBe(stopped.steps);
    await model.dispose();
  });

  it("is chosen among candidates by what they agree on; bound and guidance want one block", async () => {
    const model = await tinyModel(device, "masked", trained({ diffusion: { conditionDropout: 0.1 } }));
    const blocks = { ...settings, blockLength: 20 };
    const all = await generate(model, {}, { ...blocks, num: 3 }, short);
    const [chosen] = await generate(model, {}, { ...blocks, candidates: 3 }, short);
    expect(chosen.choice!.scores.length).toBe(3);
    expect(chosen.text).toBe(all[chosen.choice!.candidate].text);
    expect(chosen.blocks).toBe(3);
    const write = (own: GenerationSettings) => generate(model, {}, { ...blocks, ...own }, short);
    await expect(write({ candidates: 3, select: "bound" })).rejects.toThrow(
      /^generation\.select: .* several blocks/,
    );
    await expect(write({ guidance: 2 })).rejects.toThrow(/^generation\.guidance: .* several blocks/);
    const one = await write({ blockLength: 50, candidates: 2, select: "bound" });
    expect(one[0].choice!.measure).toBe("bound");
    await model.dispose();
  });

  it("is refused before the first step where settings do not fit", async () => {
    const model = await tinyModel(device, "masked", trained());
    const refused = async (request: object, own: object, message: string) => {
      const run = generate(model, request, { ...settings, length: 100, ...own });
      await expect(run).rejects.toThrow(UserError);
      await expect(run).rejects.toThrow(message);
    };
    await refused({}, { blockLength: 60 }, "generation.blockLength: expected at most 57");
    await refused(
      {},
      { blockLength: 40, contextLength: 40 },
      "generation.contextLength: expected at most 18",
    );
    await refused({ suffix: "." }, { blockLength: 40 }, "generation.blockLength: expected at least 99");
    await refused({}, { blockLength: -1 }, "generation.blockLength: expected at least 0, got -1");
    await refused({}, { contextLength: 1.5 }, "generation.contextLength");
    await refused({}, { untilEnd: "yes" }, "generation.untilEnd");
    await model.dispose();
  });
});
