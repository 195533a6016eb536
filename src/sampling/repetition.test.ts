import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { windowRepetition } from "../metrics/index.js";
import { createDevice, type Device } from "../runtime/index.js";
import type { Canvas } from "./canvas.js";
import { generate } from "./generate.js";
import { RepetitionControl, type RepetitionSettings } from "./repetition.js";
import { tinyModel, tinyTokenizer } from "./testing/tiny-model.js";

const special = { pad: 0, cls: 1, sep: 2 };
const SIZE = 10;
const off: RepetitionSettings = { repetitionPenalty: 1, repetitionWindow: 0, noRepeatNgram: 0 };

/** A source of two tokens, then `given` tokens, then a gap: all of them written but where a token is -1. before: tokens in front of it. */
function sample(text: readonly number[], given = 0, before: readonly number[] = []) {
  const start = 2;
  const end = start + text.length;
  const gap = start + given;
  const canvas: Pick<Canvas, "parts" | "target" | "before" | "endFrom"> = {
    parts: [
      ...(given > 0 ? [{ kind: "given" as const, text: "", start, end: gap }] : []),
      { kind: "gap", start: gap, end },
    ],
    target: Uint8Array.from({ length: end }, (_, p) => Number(p >= gap)),
    before: Int32Array.from(before),
    endFrom: gap,
  };
  const known = {
    ids: Int32Array.from([9, 9, ...text.map((id) => Math.max(id, 0))]),
    absorbed: Uint8Array.from([0, 0, ...text.map((id) => Number(id < 0))]),
  };
  return { canvas, known, open: text.flatMap((id, i) => (id < 0 ? [start + i] : [])) };
}

/** log p of each drawn row after the change, under logits log p = log q. q: [V] of every row. */
function changed(
  text: readonly number[],
  settings: Partial<RepetitionSettings>,
  q: readonly number[],
  given = 0,
  before: readonly number[] = [],
) {
  const { canvas, known, open } = sample(text, given, before);
  const logits = Float32Array.from(open.flatMap(() => q.map((value) => Math.log(value) + 5)));
  const control = new RepetitionControl(canvas, special, { ...off, ...settings });
  control.read(known);
  const { ids } = control.round(open, logits, new Float32Array(open.length), { temperature: 0 }, false);
  return {
    ids,
    logits: open.map((_, r) => Array.from(logits.subarray(r * SIZE, (r + 1) * SIZE), (l) => l - 5)),
  };
}

const q = [0.01, 0.01, 0.02, 0.3, 0.2, 0.16, 0.1, 0.1, 0.05, 0.05];

describe("the penalty", () => {
  it("raises the probability of tokens on both sides to its power, once each, whatever constant the logits have", () => {
    const { logits, ids } = changed([3, 4, 3, -1, 5], { repetitionPenalty: 2 }, q);
    const expected = q.map((p, id) => ([3, 4, 5].includes(id) ? 2 : 1) * Math.log(p));
    for (const [id, logit] of logits[0].entries()) expect(logit).toBeCloseTo(expected[id], 5);
    expect(ids[0]).toBe(6);
    expect(changed([3, 4, 3, -1, 5], {}, q).ids[0]).toBe(3);
    const liked = changed([8, -1], { repetitionPenalty: 0.1 }, q);
    expect(liked.ids[0]).toBe(8);
  });

  it("looks as far as its window, at given text too, but not at the source, special tokens or behind the end", () => {
    const penalised = (text: readonly number[], repetitionWindow: number, given = 0) => {
      const { logits } = changed(text, { repetitionPenalty: 2, repetitionWindow }, q, given);
      return q.flatMap((p, id) => (Math.abs(logits[0][id] - Math.log(p)) > 1e-3 ? [id] : []));
    };
    expect(penalised([3, 4, -1, 5, 6], 1)).toEqual([4, 5]);
    expect(penalised([3, 4, -1, 5, 6], 2)).toEqual([3, 4, 5, 6]);
    expect(penalised([3, 4, -1, 5, 6], 0)).toEqual([3, 4, 5, 6]);
    expect(penalised([3, 4, -1, 5], 0, 2)).toEqual([3, 4, 5]);
    expect(penalised([0, 1, -1, 5, 2, 6], 0)).toEqual([5]);
    // What stands in front of a block is next to it, whatever the canvas has between them.
    const { logits } = changed([-1, 5], { repetitionPenalty: 2, repetitionWindow: 2 }, q, 0, [3, 4, 6]);
    expect(q.flatMap((p, id) => (Math.abs(logits[0][id] - Math.log(p)) > 1e-3 ? [id] : []))).toEqual([
      4, 5, 6,
    ]);
    // A separator inside given text is no end.
    expect(penalised([3, 2, 4, -1], 0, 3)).toEqual([3, 4]);
  });
});

/** Whether an n-gram with place p in it stands elsewhere too. */
function repeats(text: readonly number[], p: number, n: number): boolean {
  const starts = Array.from({ length: Math.max(0, text.length - n + 1) }, (_, start) => start);
  const gram = (start: number) => text.slice(start, start + n);
  return starts.some(
    (one) =>
      one <= p &&
      p < one + n &&
      !gram(one).includes(-1) &&
      starts.some((other) => other !== one && gram(other).join() === gram(one).join()),
  );
}

describe("no repeated n-grams", () => {
  it("leaves out what would complete one, on either side of what is there", () => {
    const drawn = (text: readonly number[], noRepeatNgram: number) =>
      Array.from(changed(text, { noRepeatNgram }, q).ids);
    expect(drawn([3, -1], 1)).toEqual([4]);
    // 4 3 stands at the beginning: after another 4, no 3.
    expect(drawn([4, 3, 5, 4, -1], 2)).toEqual([4]);
    // The gap has the second token to its right.
    expect(drawn([3, 4, 5, -1, 4], 2)).toEqual([4]);
    expect(drawn([6, 3, 7, 5, 6, -1, 7], 3)).toEqual([4]);
    expect(drawn([6, 3, 7, 5, 6, -1, 8], 3)).toEqual([3]);
    // 3 between two 3s would make 3 3 twice.
    expect(drawn([3, -1, 3], 2)).toEqual([4]);
    expect(drawn([3, -1, 5], 2)).toEqual([3]);
    // Special tokens may follow one another as they like.
    expect(Array.from(changed([0, 0, -1], { noRepeatNgram: 1 }, [0.5, ...q.slice(1)]).ids)).toEqual([0]);
  });

  it("leaves out what a look at all pairs of n-grams does", () => {
    const token = fc.integer({ min: -1, max: 6 });
    const text = fc.array(token, { minLength: 1, maxLength: 12 });
    const before = fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 6 });
    fc.assert(
      fc.property(text, before, fc.integer({ min: 1, max: 4 }), (written, front, noRepeatNgram) => {
        const flat = q.map(() => 0.1);
        const { logits } = changed(written, { noRepeatNgram }, flat, 0, front);
        const end = written.indexOf(special.sep);
        const known = [...front, ...written.map((id, i) => (end >= 0 && i >= end ? -1 : id))].map((id) =>
          id < 3 ? -1 : id,
        );
        const open = written.flatMap((id, i) => (id < 0 ? [front.length + i] : []));
        for (const [r, p] of open.entries())
          for (const id of flat.keys())
            expect(logits[r][id] < -1e6).toBe(id > 2 && repeats(known.with(p, id), p, noRepeatNgram));
      }),
      { numRuns: 300 },
    );
  });

  it("draws something even when everything would repeat", () => {
    const text = [...Array.from({ length: 7 }, (_, i) => i + 3), -1];
    expect(special).toEqual({ pad: 0, cls: 1, sep: 2 });
    expect(changed(text, { noRepeatNgram: 1 }, q).ids[0]).toBe(2);
  });

  it("counts tokens of the same step where all of them stay", () => {
    const { canvas, known, open } = sample([-1, -1, -1]);
    const draw = (allStay: boolean) => {
      const logits = Float32Array.from(open.flatMap(() => q.map(Math.log)));
      const control = new RepetitionControl(canvas, special, { ...off, noRepeatNgram: 1 });
      const options = { temperature: 0 };
      control.read(known);
      return Array.from(control.round(open, logits, new Float32Array(3), options, allStay).ids);
    };
    expect(draw(true)).toEqual([3, 4, 5]);
    expect(draw(false)).toEqual([3, 3, 3]);
  });
});

describe("a generation", () => {
  let device: Device;
  beforeAll(async () => {
    device = await createDevice("cpu", { threads: 2 });
  });
  afterAll(() => device.dispose());
  const settings = { length: 60, steps: 12, num: 4, temperature: 0.3, topK: 3 };
  const request = { prompt: "the cat sat on the " };

  const repeatedNgrams = (ids: Int32Array, n: number, from: number): number => {
    const seen = new Set<string>();
    let repeated = 0;
    for (let p = 0; p + n <= ids.length; p++) {
      const key = ids.subarray(p, p + n).join(" ");
      // Given text may repeat itself.
      if (seen.has(key) && p + n > from) repeated++;
      seen.add(key);
    }
    return repeated;
  };

  it.each([
    ["masked", 1],
    ["masked", 2],
    ["masked", 3],
    ["moe-diffuseq", 1],
    ["moe-diffuseq", 2],
    ["diffuseq", 2],
  ] as const)("of %s has no %i-gram twice", async (preset, noRepeatNgram) => {
    const model = await tinyModel(device, preset);
    const from = (await tinyTokenizer()).encode(request.prompt).length;
    const count = (texts: readonly { ids: Int32Array }[]) =>
      texts.reduce((sum, { ids }) => sum + repeatedNgrams(ids, noRepeatNgram, from), 0);
    expect(count(await generate(model, request, settings))).toBeGreaterThan(0);
    expect(count(await generate(model, request, { ...settings, noRepeatNgram }))).toBe(0);
    await model.dispose();
  });

  it.each(["masked", "moe-diffuseq"] as const)(
    "of %s repeats itself less under the penalty, and is the same alone and in a batch",
    async (preset) => {
      const model = await tinyModel(device, preset);
      const share = (texts: readonly { ids: Int32Array }[]) =>
        texts.reduce((sum, { ids }) => sum + windowRepetition(Array.from(ids)), 0) / texts.length;
      const plain = await generate(model, request, settings);
      const held = { ...settings, repetitionPenalty: 2 };
      const texts = await generate(model, request, held);
      expect(share(texts)).toBeLessThan(0.8 * share(plain));
      const [alone] = await generate(model, { ...request, firstSample: 2 }, { ...held, num: 1 });
      expect(alone).toEqual(texts[2]);
      const among = await generate(model, [{ src: "mat", length: 9 }, request], held, { maxBatch: 3 });
      expect(among.slice(4)).toEqual(texts.map((text) => ({ ...text, request: 1 })));
      await model.dispose();
    },
  );

  it.each(["masked", "diffuseq"] as const)(
    "of %s in blocks knows the text before the block and what the context cuts off",
    async (preset) => {
      const model = await tinyModel(device, preset);
      const blocks = { length: 40, steps: 4, blockLength: 10, noRepeatNgram: 1 };
      const [{ ids }] = await generate(model, {}, blocks);
      expect(new Set(ids).size).toBe(ids.length);
      expect(ids.length).toBeGreaterThan(30);
      const [cut] = await generate(model, request, { ...blocks, contextLength: 1 });
      const given = new Set((await tinyTokenizer()).encode(request.prompt));
      const written = Array.from(cut.ids.subarray((await tinyTokenizer()).encode(request.prompt).length));
      expect(written.filter((id) => given.has(id))).toEqual([]);
      expect(new Set(written).size).toBe(written.length);
      await model.dispose();
    },
  );

  it("is refused where it makes no sense", async () => {
    const model = await tinyModel(device, "moe-diffuseq");
    for (const [extra, message] of [
      [{ repetitionPenalty: 0 }, "generation.repetitionPenalty"],
      [{ noRepeatNgram: -1 }, "generation.noRepeatNgram: expected at least 0, got -1"],
    ] as const) {
      const refused = generate(model, {}, extra);
      await expect(refused).rejects.toThrow(UserError);
      await expect(refused).rejects.toThrow(message);
    }
    await model.dispose();
  });
});
