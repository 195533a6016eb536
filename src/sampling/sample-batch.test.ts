import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { CounterRandom } from "../random/index.js";
import { createDevice, type Device } from "../runtime/index.js";
import { buildCanvas } from "./canvas.js";
import { generate, generateSteps } from "./generate.js";
import type { Program } from "./program-cache.js";
import { SampleBatch } from "./sample-batch.js";
import { generationConfig } from "./sampling-settings.js";
import { SamplingProcess, samplingTimes } from "./sampling-times.js";
import { tinyModel } from "./testing/tiny-model.js";

let device: Device;
beforeAll(async () => {
  device = await createDevice("cpu", { threads: 1 });
});
afterAll(() => device.dispose());

const short = { lengthMultiple: 8 };

/** Calls that ran the network, not what makes logits of its rows. */
const networkRuns = ({ mock: { calls } }: { mock: { calls: [Program, ...unknown[]][] } }) =>
  calls.filter(([{ executable }]) => executable.program.name === "sampling").length;

describe("steps that draw nothing", () => {
  it.each([
    ["random release", {}],
    ["left to right", { release: "left-to-right" }],
    ["reabsorbing", { reabsorb: 0.4 }],
    ["repetition held down", { noRepeatNgram: 1 }],
    [
      "by a threshold, to the last step",
      { release: "confidence-threshold", confidenceThreshold: 0.02, earlyStop: "off" },
    ],
  ] as const)("run no network, and change nothing by it: %s", async (_, own) => {
    const model = await tinyModel(device, "masked");
    const run = vi.spyOn(model, "run");
    const requests = [{ prompt: "the cat", length: 12 }, { infill: "the [MASK:3] mat" }];
    const settings = { steps: 40, temperature: 1, ...own };
    const texts = await generate(model, requests, settings, short);
    const runs = networkRuns(run);
    // Whoever looks on is told at every step.
    let steps = 0;
    const looked = [];
    for await (const { finished } of generateSteps(model, requests, settings, short)) {
      looked.push(...finished);
      steps++;
    }
    expect(looked).toEqual(texts);
    expect(networkRuns(run) - runs).toBe(steps);
    expect(runs).toBeLessThan(steps * 0.7);
    expect(runs).toBeGreaterThan(0);
    // Whoever wants the steps and no samples is told as often, and asks for no more than they take.
    const before = networkRuns(run);
    const unseen = [];
    for await (const { samples, finished } of generateSteps(model, requests, settings, {
      ...short,
      samples: false,
    })) {
      expect(samples).toEqual([]);
      unseen.push(...finished);
      steps--;
    }
    expect([unseen, steps, networkRuns(run) - before]).toEqual([texts, 0, runs]);
    await model.dispose();
  });

  it.each([
    ["what is predicted is an input of the next", { model: { selfConditioning: true } }, {}],
    ["keys and values are kept", {}, { cacheInterval: 2 }],
  ])("run it where %s", async (_, extra, own) => {
    const model = await tinyModel(device, "masked", extra);
    const run = vi.spyOn(model, "run");
    await generate(model, { length: 3 }, { steps: 20, earlyStop: "off", ...own }, short);
    expect(run).toHaveBeenCalledTimes(20);
    await model.dispose();
  });
});

it("a batch that does not come to start gives back what it holds", async () => {
  const model = await tinyModel(device, "moe-diffuseq");
  const config = generationConfig(model.config, {});
  const process = new SamplingProcess(model.config.diffusion);
  const setting = {
    process,
    times: samplingTimes(process, 2),
    config,
    sampler: "ancestral" as const,
    keeping: "interval" as const,
    random: new CounterRandom(4),
    vocabSize: model.config.model.vocabSize,
    special: model.tokenizer.special,
    ...(await model.hostCodes()),
  };
  const canvas = buildCanvas({}, model.config, model.tokenizer, 8);
  const dispose = vi.fn(async () => {});
  vi.spyOn(model, "hold").mockResolvedValue({ dispose });
  // No sample has such a number.
  const plans = [{ canvas, sequence: -1 }];
  const start = SampleBatch.start(model, setting, plans, { batchSize: 1, length: 16 }, false);
  await expect(start).rejects.toThrow(RangeError);
  expect(dispose).toHaveBeenCalledTimes(1);
  await model.dispose();
});
