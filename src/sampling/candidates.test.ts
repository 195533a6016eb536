import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { UserError } from "../errors.js";
import { mbrSelect } from "../metrics/index.js";
import { createDevice, type Device } from "../runtime/index.js";
import { Candidates } from "./candidates.js";
import { buildCanvas } from "./canvas.js";
import { type Generation, generate, generateSteps } from "./generate.js";
import { tinyModel, tinyTokenizer, VOCAB_SIZE } from "./testing/tiny-model.js";
import { SCORE_DRAWS, scoreTexts } from "./text-score.js";

let device: Device;
beforeAll(async () => {
  device = await createDevice("cpu", { threads: 2 });
});
afterAll(() => device.dispose());

const tokenizer = await tinyTokenizer();
const settings = { length: 16, steps: 5, seed: 3, temperature: 0.7 };
const requests = [{ prompt: "the cat " }, { src: "on the mat", length: 9 }];

describe("candidates", () => {
  it("one: the text itself", async () => {
    const model = await tinyModel(device, "masked");
    const plain = await generate(model, requests, settings);
    expect(plain.map(({ choice }) => choice)).toEqual([null, null]);
    expect(await generate(model, requests, { ...settings, candidates: 1, select: "bound" })).toEqual(plain);
    await model.dispose();
  });

  it("mbr: what mbrSelect takes of the same texts", async () => {
    // Words instead of bytes, so that texts have some in common.
    const model = await tinyModel(device, "masked", {}, ({ output_bias: bias }) => {
      for (const word of [" the", " cat", " mat"]) for (const id of tokenizer.encode(word)) bias[id] += 8;
    });
    const all = await generate(model, requests, { ...settings, num: 8 });
    const chosen = await generate(model, requests, { ...settings, num: 2, candidates: 4 });
    expect(chosen).toHaveLength(4);
    for (const [k, { choice, ...text }] of chosen.entries()) {
      const group = all.slice(4 * k, 4 * k + 4);
      const { index, scores } = mbrSelect(group.map((one) => one.text));
      expect({ ...text, choice: null }).toEqual(group[index]);
      expect(choice).toEqual({ candidate: index, measure: "bleu", score: scores[index], scores });
    }
    expect(chosen.some(({ choice }) => choice!.candidate > 0)).toBe(true);
    await model.dispose();
  });

  it("mbr of many long texts hears the signal", async () => {
    const model = await tinyModel(device, "masked");
    const stopper = new AbortController();
    const canvas = buildCanvas({}, model.config, tokenizer, 4);
    const words = Array.from({ length: 2000 }, (_, i) => `w${i % 700}`).join(" ");
    const many = Array.from({ length: 30 }, (_, i) => ({
      ...{ group: 0, canvas, ids: new Int32Array(4) },
      generation: { text: `${i} ${words}` },
    }));
    const setting = { candidates: many.length, select: "mbr", seed: 1 } as const;
    setTimeout(() => stopper.abort(new Error("enough")));
    const choosing = new Candidates(model, setting, stopper.signal).take(many, 1, 16);
    await expect(choosing).rejects.toThrow("enough");
    await model.dispose();
  });

  it.each(["masked", "moe-diffuseq"] as const)("%s, bound: the one with the fewest nats", async (preset) => {
    const model = await tinyModel(device, preset);
    const all = await generate(model, requests, { ...settings, num: 8 });
    const chosen = await generate(model, requests, { ...settings, num: 2, candidates: 4, select: "bound" });
    for (const [k, { choice, ...text }] of chosen.entries()) {
      const { candidate, measure, score, scores } = choice!;
      expect(measure).toBe(preset === "masked" ? "bound" : "cross-entropy");
      expect([scores.length, score]).toEqual([4, Math.min(...scores)]);
      expect(scores[candidate]).toBe(score);
      expect({ ...text, choice: null }).toEqual(all[4 * k + candidate]);
    }
    expect(chosen.some(({ choice }) => choice!.candidate > 0)).toBe(true);
    // The winner can be written again by its number.
    const [again] = await generate(model, { ...requests[0], firstSample: chosen[1].sample }, settings);
    expect(again.text).toBe(chosen[1].text);
    await model.dispose();
  });

  it.each(["mbr", "bound"] as const)(
    "%s: the same alone, in any batch, whatever the number of texts",
    async (select) => {
      const model = await tinyModel(device, "masked");
      const config = { ...settings, candidates: 3, select };
      const several = await generate(model, requests, { ...config, num: 3 });
      const near = (texts: readonly Generation[], expected: readonly Generation[]) => {
        expect(texts.map(({ choice: _, ...text }) => text)).toEqual(
          expected.map(({ choice: _, ...text }) => text),
        );
        for (const [i, { choice }] of texts.entries())
          for (const [j, score] of choice!.scores.entries())
            expect(score).toBeCloseTo(expected[i].choice!.scores[j], 4);
      };
      near(await generate(model, requests[0], { ...config, num: 1 }), [several[0]]);
      near(await generate(model, { ...requests[0], firstSample: 6 }, config), [several[2]]);
      const events: (readonly [number, number])[] = [];
      const found: Generation[] = [];
      const options = { maxBatch: 2, lengthMultiple: 32 };
      for await (const { batch, finished } of generateSteps(
        model,
        requests,
        { ...config, num: 3 },
        options,
      )) {
        if (finished.length > 0) events.push([batch, finished.length]);
        found.push(...finished);
      }
      near(found, several);
      // 18 candidates in batches of two: a text comes with the batch that has its third candidate.
      expect(events.map(([batch]) => batch)).toEqual([2, 3, 5, 6, 8, 9]);
      await model.dispose();
    },
  );

  it("asks for a number and a rule that exist", async () => {
    const model = await tinyModel(device, "masked");
    for (const [extra, message] of [
      [{ candidates: 0 }, "generation.candidates: expected at least 1, got 0"],
      [{ select: "best" }, "generation.select: expected one of"],
    ] as const) {
      const refused = generate(model, {}, extra as object);
      await expect(refused).rejects.toThrow(UserError);
      await expect(refused).rejects.toThrow(message);
    }
    await model.dispose();
  });
});

describe("the score of a text", () => {
  const canvasOf = (model: Awaited<ReturnType<typeof tinyModel>>, text: string, size: number) => {
    const canvas = buildCanvas({ src: "cat" }, model.config, model.tokenizer, size);
    const ids = canvas.row.ids.slice();
    ids.fill(model.tokenizer.special.sep, canvas.endFrom);
    ids.set(model.tokenizer.encode(text), canvas.endFrom);
    return { canvas, ids };
  };
  const shape = { batchSize: 4, length: 64 };

  it("masked: is exact, or right on average, for a model that knows no context", async () => {
    const bias = Float32Array.from({ length: VOCAB_SIZE }, (_, v) => Math.sin(v * v));
    const model = await tinyModel(device, "masked", {}, (weights) => {
      weights["output.weight"].fill(0);
      weights["output.bias"].fill(0);
      weights.output_bias.set(bias);
    });
    const total = Math.log(bias.reduce((sum, b) => sum + Math.exp(b), 0));
    const nats = (ids: ArrayLike<number>) =>
      Array.from(ids, (id) => total - bias[id]).reduce((a, b) => a + b) / ids.length;
    const { sep } = model.tokenizer.special;
    const [letter] = model.tokenizer.encode("x");
    const flat = canvasOf(model, "", 12);
    flat.ids.fill(letter, flat.canvas.endFrom);
    const [exact] = await scoreTexts(model, [flat], { seed: 1, shape });
    expect(exact).toBeCloseTo(nats([letter]), 4);
    const text = "sat on Zoë, the 東京 other hat";
    const mixed = canvasOf(model, text, 50);
    const expected = nats([...model.tokenizer.encode(text), sep]);
    const scores: number[] = [];
    for (let seed = 0; seed < 20; seed++) scores.push(...(await scoreTexts(model, [mixed], { seed, shape })));
    const mean = scores.reduce((a, b) => a + b) / scores.length;
    const deviation = Math.sqrt(scores.reduce((sum, s) => sum + (s - mean) ** 2, 0) / (scores.length - 1));
    expect(Math.abs(mean - expected)).toBeLessThan(4 * (deviation / Math.sqrt(20)));
    expect(deviation).toBeLessThan(0.2);
    await model.dispose();
  });

  it.each(["masked", "diffuseq"] as const)(
    "%s: does not depend on its place, on other texts, padding, or what stands behind the end",
    async (preset) => {
      const model = await tinyModel(device, preset, { model: { selfConditioning: preset === "diffuseq" } });
      const texts = ["the cat", "sat on the mat", "née"].map((text) => canvasOf(model, text, 20));
      const scores = await scoreTexts(model, texts, { seed: 5, shape });
      expect(new Set(scores).size).toBe(3);
      for (const [i, text] of texts.entries()) {
        const [alone] = await scoreTexts(model, [text], { seed: 5, shape: { batchSize: 1, length: 32 } });
        expect(alone).toBeCloseTo(scores[i], 4);
        const ids = text.ids.slice();
        ids.fill(70, ids.indexOf(model.tokenizer.special.sep, text.canvas.endFrom) + 1);
        const [same] = await scoreTexts(model, [{ ...text, ids }], { seed: 5, shape });
        expect(same).toBeCloseTo(scores[i], 4);
      }
      const [other] = await scoreTexts(model, texts, { seed: 6, shape });
      expect(other).not.toBeCloseTo(scores[0], 4);
      await model.dispose();
    },
  );

  it("Gaussian: is the mean of the training loss's cross entropy over the draws", async () => {
    const model = await tinyModel(device, "diffuseq");
    const run = vi.spyOn(model, "run");
    const [score] = await scoreTexts(model, [canvasOf(model, "sat on the mat", 20)], {
      seed: 5,
      shape: { batchSize: 1, length: 32 },
    });
    const losses = await Promise.all(
      run.mock.results.map(async ({ value }) => Number((await value).ce.data[0])),
    );
    expect(losses).toHaveLength(SCORE_DRAWS);
    expect(new Set(losses).size).toBe(SCORE_DRAWS);
    expect(score).toBeCloseTo(losses.reduce((a, b) => a + b) / SCORE_DRAWS, 4);
    await model.dispose();
  });

  it("is lower for what the model would write", async () => {
    for (const preset of ["masked", "diffuseq-v2"] as const) {
      const model = await tinyModel(device, preset, {}, (weights) => {
        weights.output_bias[97] = 6;
      });
      const [text, other] = [97, 98].map((id) => {
        const written = canvasOf(model, "", 12);
        written.ids.fill(id, written.canvas.endFrom);
        return written;
      });
      const [likely, unlikely] = await scoreTexts(model, [text, other], { seed: 1, shape });
      expect(likely).toBeLessThan(unlikely);
      await model.dispose();
    }
  });
});
