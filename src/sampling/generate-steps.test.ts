import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { createDevice, type Device } from "../runtime/index.js";
import { PLACEHOLDER } from "./canvas-text.js";
import { generate, generateSteps, type StepEvent } from "./generate.js";
import { DiffusionModel } from "./model.js";
import { forceToken, tinyModel, tinyTokenizer } from "./testing/tiny-model.js";

let device: Device;
beforeAll(async () => {
  device = await createDevice("cpu", { threads: 2 });
});
afterAll(() => device.dispose());

const settings = { length: 40, steps: 8 };

async function eventsOf(events: AsyncIterable<StepEvent>): Promise<StepEvent[]> {
  const all: StepEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

const sum = (values: Iterable<number>): number => Array.from(values).reduce((a, b) => a + b, 0);

describe("the steps of a generation", () => {
  it("masked limit: tokens settle for good, evenly over the steps", async () => {
    const model = await tinyModel(device, "masked");
    const events = await eventsOf(generateSteps(model, [{ prompt: "the " }], { ...settings, num: 2 }));
    expect(events.map(({ step, of, batch, batches }) => [step, of, batch, batches])).toEqual(
      Array.from({ length: 8 }, (_, i) => [i + 1, 8, 1, 1]),
    );
    expect(events.map(({ time }) => time)).toEqual(
      [7, 6, 5, 4, 3, 2, 1, 0].map((k) => expect.closeTo(k / 8, 9)),
    );
    for (const sample of [0, 1]) {
      const states = events.map(({ samples }) => samples[sample]);
      for (const [i, state] of states.entries()) {
        const open = state.settled.length - sum(state.settled);
        expect(state.text.split(PLACEHOLDER).length - 1).toBeLessThanOrEqual(open);
        expect(state.text.startsWith("the ")).toBe(true);
        if (i === 0) continue;
        for (let p = 0; p < state.settled.length; p++) {
          if (states[i - 1].settled[p] === 0) continue;
          expect(state.settled[p]).toBe(1);
          expect(state.ids[p]).toBe(states[i - 1].ids[p]);
        }
      }
      const last = states[7];
      expect(sum(last.settled)).toBe(last.settled.length);
      expect(last.text).toBe(events[7].finished[sample].text);
    }
    const settled = events.map(({ samples }) => sum(samples.flatMap((sample) => sum(sample.settled))));
    expect(settled[3] - settled[0]).toBeGreaterThan(10);
    expect(events.slice(0, 7).every(({ finished }) => finished.length === 0)).toBe(true);
    await model.dispose();
  });

  it("tell of confidence and expert load", async () => {
    const model = await tinyModel(device, "moe-diffuseq", {}, forceToken(70));
    for (const event of await eventsOf(generateSteps(model, [{}, { src: "cat" }], settings))) {
      expect(event.samples.map(({ confidence }) => confidence)).toEqual([1, 1]);
      expect(event.milliseconds).toBeGreaterThan(0);
      const load = event.expertLoad!;
      expect([load.length, ...load.map((experts) => experts.length)]).toEqual([2, 3, 3]);
      for (const experts of load) expect(sum(experts)).toBeCloseTo(3, 5);
    }
    const dense = await tinyModel(device, "diffuseq");
    const [event] = await eventsOf(generateSteps(dense, [{}], settings));
    expect(event.expertLoad).toBeNull();
    expect(event.samples[0].confidence).toBeLessThan(1);
    await model.dispose();
    await dense.dispose();
  });

  it("come batch by batch, samples of one length together", async () => {
    const model = await tinyModel(device, "masked");
    const requests = [{ length: 100 }, { length: 20 }, { length: 30 }];
    const events = await eventsOf(generateSteps(model, requests, { steps: 1, num: 3 }, { maxBatch: 4 }));
    expect(
      events.map(({ batch, samples }) => [batch, samples.map((s) => `${s.request}.${s.sample}`)]),
    ).toEqual([
      [1, ["0.0", "0.1", "0.2"]],
      [2, ["1.0", "1.1", "1.2"]],
      [3, ["2.0", "2.1", "2.2"]],
    ]);
    const texts = await generate(model, requests, { steps: 1, num: 3 });
    expect(texts.map(({ request, sample }) => `${request}.${sample}`)).toEqual(
      events.flatMap(({ samples }) => samples.map((s) => `${s.request}.${s.sample}`)),
    );
    await model.dispose();
  });

  it("stop when the signal says so", async () => {
    const model = await tinyModel(device, "moe-diffuseq");
    const stopper = new AbortController();
    let steps = 0;
    const run = async () => {
      for await (const _ of generateSteps(model, [{}], settings, { signal: stopper.signal })) {
        steps++;
        if (steps === 2) stopper.abort(new Error("enough"));
      }
    };
    await expect(run()).rejects.toThrow("enough");
    expect(steps).toBe(2);
    await expect(generate(model, {}, settings, { signal: stopper.signal })).rejects.toThrow("enough");
    const controller = { signal: stopper as unknown as AbortSignal };
    await expect(generate(model, {}, settings, controller)).rejects.toThrow("pass controller.signal");
    const odd = generateSteps(model, [{}], settings, { samples: 1 as unknown as boolean });
    await expect(odd.next()).rejects.toThrow("options.samples: expected true or false, got 1");
    // Leaving the loop is another way to stop; the model goes on to work.
    for await (const { step } of generateSteps(model, [{}], settings)) if (step === 3) break;
    expect(await generate(model, {}, settings)).toHaveLength(1);
    await model.dispose();
  });

  it("masked limit: stop when everything is written, and change nothing by it", async () => {
    const model = await tinyModel(device, "masked");
    const quick = {
      ...settings,
      num: 3,
      release: "confidence-threshold",
      confidenceThreshold: 0.02,
    } as const;
    const requests = [{}, { length: 9 }, { prompt: "the cat sat on the " }];
    const stopped = await generate(model, requests, quick);
    const whole = await generate(model, requests, { ...quick, earlyStop: "off" });
    expect(whole.every(({ steps }) => steps === 8)).toBe(true);
    expect(stopped.map(({ steps: _, ...text }) => text)).toEqual(whole.map(({ steps: _, ...text }) => text));
    expect(Math.min(...stopped.map(({ steps }) => steps))).toBeLessThan(8);
    const events = await eventsOf(generateSteps(model, requests, quick));
    const last = events[events.length - 1];
    expect(last.finished.map(({ steps }) => steps)).toEqual(stopped.map(({ steps }) => steps));
    expect(last.step).toBe(Math.max(...stopped.map(({ steps }) => steps)));
    expect([last.of, events.length]).toEqual([8, last.step]);
    await model.dispose();
  });

  it.each(["random", "margin", "confidence-threshold"] as const)(
    "masked limit, %s: unsure tokens are taken back, within the budget, and all is written in the end",
    async (release) => {
      const model = await tinyModel(device, "masked");
      const config = { ...settings, num: 2, release, confidenceThreshold: 0.5, reabsorb: 0.25 } as const;
      const events = await eventsOf(generateSteps(model, [{}], config));
      for (const i of [0, 1]) {
        const states = events.map(({ samples }) => samples[i].settled);
        const targets = 40;
        let [taken, written] = [0, targets - states[0].filter((flag) => flag === 0).length];
        const again = new Set<number>();
        for (const [k, state] of states.entries()) {
          if (k === 0) continue;
          const back = Array.from(state.keys()).filter((p) => states[k - 1][p] === 1 && state[p] === 0);
          for (const p of back) {
            expect(again.has(p)).toBe(false);
            again.add(p);
          }
          taken += back.length;
          expect(taken).toBeLessThanOrEqual(written / 4);
          written += Array.from(state.keys()).filter((p) => states[k - 1][p] === 0 && state[p] === 1).length;
        }
        expect(taken).toBeGreaterThan(4);
        expect(states[states.length - 1].includes(0)).toBe(false);
      }
      if (release === "margin") {
        // As many are open after each step as without.
        const without = await eventsOf(generateSteps(model, [{}], { ...config, reabsorb: 0 }));
        const open = (all: StepEvent[]) =>
          all.map(({ samples }) => samples.map(({ settled }) => sum(settled)));
        expect(open(events)).toEqual(open(without));
      }
      await model.dispose();
    },
  );

  it("Gaussian processes: stop on demand when no token changes, each text by itself", async () => {
    // Little noise on wide codes: sure of its tokens long before the end, unsure at the start.
    const model = await tinyModel(device, "moe-diffuseq", {
      model: { embeddingSize: 24 },
      diffusion: { noiseScale: 0.6, absorbRate: 0 },
    });
    const config = { ...settings, steps: 40, num: 4, earlyStop: "on" } as const;
    const events = await eventsOf(generateSteps(model, [{}], config));
    const texts = events[events.length - 1].finished;
    const counts = texts.map(({ steps }) => steps);
    expect(new Set(counts).size).toBeGreaterThan(1);
    expect(Math.max(...counts)).toBeLessThan(40);
    expect(Math.min(...counts)).toBeGreaterThan(10);
    expect(events.length).toBe(Math.max(...counts));
    for (const [i, { sample, steps }] of texts.entries()) {
      const [stopped, before] = [events[steps - 1].samples[i], events[steps - 2].samples[i]];
      expect(stopped.ids).toEqual(before.ids);
      expect(stopped.settled.includes(0)).toBe(false);
      expect(stopped.confidence).toBeGreaterThanOrEqual(0.9);
      for (const event of events.slice(steps)) expect(event.samples[i]).toEqual(stopped);
      const [alone] = await generate(model, { firstSample: sample }, { ...config, num: 1 });
      expect(alone).toEqual(texts[i]);
    }
    const whole = await generate(model, {}, { ...config, earlyStop: "auto" });
    expect(whole.map(({ steps }) => steps)).toEqual([40, 40, 40, 40]);
    await model.dispose();
  });

  it("equal seeds give equal texts, other seeds others", async () => {
    const model = await tinyModel(device, "moe-diffuseq");
    const write = async (seed: number) => (await generate(model, {}, { ...settings, seed }))[0].text;
    expect(await write(5)).toBe(await write(5));
    expect(await write(5)).not.toBe(await write(6));
    await model.dispose();
  });
});

it("settings that make no sense are refused with what to do", async () => {
  const masked = await tinyModel(device, "masked");
  const plain = await tinyModel(device, "diffuseq");
  const refused = async (promise: Promise<unknown>, message: string) => {
    await expect(promise).rejects.toThrow(UserError);
    await expect(promise).rejects.toThrow(message);
  };
  await refused(generate(masked, {}, { sampler: "ddim" }), 'expected "absorbing" or "auto"');
  await refused(generate(plain, {}, { sampler: "absorbing" }), "absorbRate 0");
  await refused(generate(plain, {}, { temperature: 1e9 }), "generation.temperature: expected at most 1000");
  await refused(
    generate(plain, {}, { topP: 1e-46 }),
    "generation.topP: expected at least 0.000001, got 1e-46",
  );
  await refused(generate(plain, {}, { guidance: 1e8 }), "generation.guidance: expected at most 1000");
  const loud = { noiseTemperature: 1e39 };
  await refused(generate(plain, {}, loud), "generation.noiseTemperature: expected at most 1000");
  await refused(generate(plain, {}, { steps: 0 }), "generation.steps: expected at least 1, got 0");
  await refused(generate(plain, {}, { topq: 1 } as object), 'unknown key "generation.topq"');
  await refused(generate(masked, {}, { sampler: "dpm-solver++" }), "generation.sampler");
  await refused(generate(masked, {}, { timeGrid: "log-snr" }), "generation.timeGrid");
  const third = { sampler: "dpm-solver++", solverMethod: "singlestep", order: 3 } as const;
  await refused(generate(plain, {}, third), "generation.order: expected 1 or 2");
  await refused(generate(plain, {}, { order: 4 }), "generation.order: expected at most 3, got 4");
  await refused(generate(plain, {}, { timeGrid: "log" } as object), "generation.timeGrid: expected one of");
  await refused(
    generate(masked, {}, { release: "margins" } as object),
    "generation.release: expected one of",
  );
  await refused(generate(masked, {}, { confidenceThreshold: 0 }), "generation.confidenceThreshold");
  await refused(generate(plain, {}, { reabsorb: 0.1 }), "generation.reabsorb: expected 0");
  await refused(generate(masked, {}, { reabsorb: 2 }), "generation.reabsorb: expected at most 1");
  await refused(generate(masked, {}, { earlyStop: true } as object), "generation.earlyStop: expected one of");
  await refused(generate(plain, { firstSample: -1 }), "firstSample");
  await refused(generate(plain, {}, {}, { maxBatch: 0 }), "maxBatch");
  await refused(generate(plain, { firstSample: 2 ** 32 - 2 }, { num: 3 }), "firstSample: expected at most");
  const many = { num: 2 ** 23, candidates: 3 };
  await refused(generate(plain, {}, many), "generation.num: expected at most 16777216 samples");
  await refused(generate(plain, {}, {}, { lengthMultiple: 1e12 }), "lengthMultiple: expected an integer");
  await refused(generate(plain, "hello" as never), "request: expected an object");
  await refused(generate(plain, [{}, null as never]), "request: expected an object");
  await refused(generate(plain, {}, null as never), "settings: expected an object");
  await refused(generate(plain, {}, {}, null as never), "options: expected an object");
  await refused(generate(plain, {}, {}, { maxbatch: 1 } as object), 'did you mean "maxBatch"?');
  await refused(eventsOf(generateSteps(plain, { prompt: "a" } as never)), "requests: expected a list");
  await refused(DiffusionModel.fromPretrained(undefined as never), "model: expected the path");
  expect(await generate(plain, [])).toEqual([]);
  await masked.dispose();
  await plain.dispose();
});

it("at the highest temperature nothing forbidden is written", async () => {
  const model = await tinyModel(device, "masked");
  const { cls, pad, sep } = model.tokenizer.special;
  for (const release of ["random", "confidence"] as const) {
    const hot = { ...settings, temperature: 1000, topP: 1, num: 40, release };
    const texts = await generate(model, { infill: "[MASK:60]." }, hot);
    const written = new Set(texts.flatMap(({ ids }) => Array.from(ids)));
    expect(written.size).toBeGreaterThan(200);
    expect([cls, pad, sep].filter((id) => written.has(id))).toEqual([]);
  }
  await model.dispose();
});

it("texts are in the language of the tokenizer", async () => {
  const [letter] = (await tinyTokenizer()).encode("a");
  const model = await tinyModel(device, "diffuseq-v2", {}, forceToken(letter));
  expect((await generate(model, {}, { ...settings, temperature: 0 }))[0].text).toBe("a".repeat(40));
  await model.dispose();
});
