/**
 * @file Writing from left to right with the keys and values of the text so far: every step against a run over the whole text in float64,
 * and texts against those of the loop that runs the network over everything for every token.
 */
import { describe, expect, it } from "vitest";
import type { PartialRunConfig } from "../config/index.js";
import { makeRow, tinyBatch, tinyConfig, tinyParameters } from "../diffusion/testing/tiny.js";
import { evaluate, type NDArray, type TensorData } from "../graph/index.js";
import { runOnnx } from "../graph/testing/check.js";
import { onEveryDevice } from "../runtime/testing/devices.js";
import { generate, generateSteps } from "./generate.js";
import type { GenerationRequest } from "./request.js";
import { samplingModule } from "./sampling-module.js";
import type { GenerationSettings } from "./sampling-settings.js";
import { placeActiveRows, placeNextRows, TextSoFar } from "./step-rows.js";
import { LoopModel, tinyModel } from "./testing/tiny-model.js";

const sparse = { full: false, window: 3, globalTokens: 2 };
const variants: { name: string; extra: PartialRunConfig }[] = [
  { name: "full attention, dense", extra: {} },
  {
    name: "window, globals, experts by top-k",
    extra: { model: { attention: sparse, experts: { numExperts: 3, topK: 2 } } },
  },
  {
    name: "two dilations, five taps, experts by top-p, one of them shared",
    extra: {
      model: {
        inputConvolution: 5,
        attention: { ...sparse, globalTokens: 0, dilation: [1, 2] },
        experts: { numExperts: 3, router: "top-p", sharedExpertSize: 3 },
      },
    },
  },
  {
    name: "one full layer, post-norm, sinusoids, no convolution",
    extra: {
      model: {
        inputConvolution: 1,
        normPlacement: "post",
        positionEmbedding: "sinusoidal",
        attention: { ...sparse, layers: { 1: { full: true } } },
      },
    },
  },
];

const LENGTH = 17;

describe.each(variants)("a step's logits: $name", ({ extra }) => {
  const config = tinyConfig("autoregressive", extra);
  const parameters = tinyParameters(config);
  const g = config.model.attention.globalTokens;
  // Two documents in one row, and a shorter row.
  const rows = [makeRow(config, 1, [8, 5], LENGTH), makeRow(config, 2, [11], LENGTH)];
  const { feeds, shape } = tinyBatch(config, rows);
  const ending = (size: number): TensorData => ({
    dtype: "int64",
    shape: [size],
    data: new BigInt64Array(size),
  });
  const drawAt = (at: number[]): TensorData => ({
    dtype: "int64",
    shape: [at.length],
    data: BigInt64Array.from(at, BigInt),
  });
  const forbidden = { inside: [], ending: [] };
  const moduleOf = (active: "all" | ReturnType<typeof placeNextRows>["shape"]) =>
    samplingModule(config, shape, forbidden, {
      guess: false,
      guided: false,
      rows: active,
      drawn: null,
      rounding: "logits",
      hold: true,
    });
  const [size, vocabulary] = [2 * LENGTH, config.model.vocabSize];
  const whole = evaluate(
    moduleOf("all"),
    { ...feeds, ending: ending(size), draw: drawAt(Array.from({ length: size }, (_, i) => i)) },
    parameters,
  ).drawLogits;
  /** The inputs while `known` positions of each row are written. */
  const soFar = (known: readonly number[]): Record<string, TensorData> => {
    const ids = BigInt64Array.from(feeds.ids.data as BigInt64Array, (id, at) =>
      at % LENGTH < known[Math.floor(at / LENGTH)] ? id : 0n,
    );
    return { ...feeds, ids: { ...feeds.ids, data: ids } };
  };
  const logitsOf = (r: NDArray, row: number) => r.data.slice(row * vocabulary, (row + 1) * vocabulary);

  it.each(["slow", "lowered", "fast"] as const)(
    "are those of a run over the whole text (%s)",
    async (form) => {
      const run = (
        active: "all" | ReturnType<typeof placeNextRows>["shape"],
        own: Record<string, TensorData>,
      ) =>
        form === "fast"
          ? runOnnx(moduleOf(active), own, parameters)
          : evaluate(moduleOf(active), own, parameters, { lowered: form === "lowered" });
      const tolerance = form === "fast" ? 2e-5 : 1e-6;
      const known = [g + 3, g + 1];
      const first = await run("all", {
        ...soFar(known),
        ending: ending(size),
        draw: drawAt([known[0], LENGTH + known[1]]),
      });
      for (const [b, p] of known.entries())
        close(logitsOf(first.drawLogits, b), logitsOf(whole, b * LENGTH + p), tolerance);
      const held: Record<string, NDArray> = Object.fromEntries(
        Object.entries(first).filter(([name]) => name.startsWith("held:")),
      );
      const texts = known.map((p) => {
        const text = new TextSoFar();
        text.seen([p]);
        return text;
      });
      // The second row ends first; behind the second document's globals, which are never active, the first one stops too.
      const ends = [g + 8, g + 11];
      for (let step = 1; known.some((p, b) => p + 1 < ends[b]); step++) {
        // Every third step there is given text to be caught up with.
        for (const b of known.keys()) known[b] = Math.min(ends[b] - 1, known[b] + (step % 3 === 0 ? 3 : 1));
        const active = texts.map((text, b) => text.active([known[b]]));
        const before = active.map((positions) => positions.slice(0, -1));
        const runs = [
          placeNextRows(
            active.map((positions) => positions.at(-1) ?? null),
            shape,
            1,
          ),
        ];
        if (before.some((positions) => positions.length > 0))
          runs.unshift(placeActiveRows(before, { slots: 2, span: 2 }, shape, 1));
        for (const [i, placed] of runs.entries()) {
          const drawn = i === runs.length - 1 ? active.flatMap((own, b) => (own.length > 0 ? [b] : [])) : [];
          const outputs = await run(placed.shape, {
            ...soFar(known),
            ...held,
            ...placed.feeds,
            ending: ending(size),
            draw: drawAt(drawn.length > 0 ? drawn.map((b) => b * LENGTH + known[b]) : [0]),
          });
          for (const [k, b] of drawn.entries())
            close(logitsOf(outputs.drawLogits, k), logitsOf(whole, b * LENGTH + known[b]), tolerance);
          for (const [name, rows] of Object.entries(outputs)) {
            if (!name.startsWith("held-rows:")) continue;
            const into = held[name.replace("held-rows", "held")].data;
            const width = rows.shape[1];
            for (const [slot, at] of placed.at.entries())
              if (at >= 0) into.set(rows.data.subarray(slot * width, (slot + 1) * width), at * width);
          }
        }
      }
      expect(known).toEqual(ends.map((end) => end - 1));
    },
  );
});

function close(actual: Float64Array, expected: Float64Array, tolerance: number): void {
  const worst = Math.max(...actual.map((x, i) => Math.abs(x - expected[i])));
  expect(worst).toBeLessThan(tolerance);
}

const requests: GenerationRequest[] = [
  { prompt: "the cat ", length: 15 },
  { src: "the mat" },
  { length: 5 },
  { infill: "the[MASK:4] cat sat on[MASK:5], 東[MASK:2]京" },
];
const settings: { title: string; own: GenerationSettings; extra?: PartialRunConfig }[] = [
  { title: "the likeliest token", own: { temperature: 0 } },
  { title: "temperature, top-k, top-p", own: { temperature: 1.3, topK: 40, topP: 0.9, seed: 8 } },
  { title: "repetition held down", own: { repetitionPenalty: 1.4, repetitionWindow: 4, noRepeatNgram: 2 } },
  { title: "a cache interval, which says nothing here", own: { cacheInterval: 4, earlyStop: "off" } },
  { title: "candidates by the bound", own: { candidates: 2, select: "bound" } },
  {
    title: "guidance",
    own: { guidance: 2 },
    extra: { diffusion: { conditionDropout: 0.1 } },
  },
];

onEveryDevice((device, kind) => {
  const short = { lengthMultiple: 16 };
  const some = kind === "cpu" ? variants : variants.slice(1, 2);
  describe.each(some)("texts: $name", ({ name, extra }) => {
    // All settings with one of the models; the reference is slow.
    const all = kind === "cpu" && name.startsWith("window");
    const own = settings.filter(({ title }) => all || title.startsWith("temperature"));
    it.each(own)("equal those of the plain loop: $title", async ({ own, extra: more }) => {
      const both = { ...extra, ...more };
      const kept = await tinyModel(device(), "autoregressive", both);
      const plain = await LoopModel.tiny(device(), "autoregressive", both);
      const asked = { length: 14, seed: 3, temperature: 1, topP: 1, num: 2, ...own };
      const texts = await generate(kept, requests, asked, short);
      expect(texts).toEqual(await generate(plain, requests, asked, short));
      const alone = await generate(kept, requests[0], { ...asked, num: 1 }, short);
      expect(alone[0].ids).toEqual(texts[0].ids);
      await Promise.all([kept.dispose(), plain.dispose()]);
    });
  });

  it("compute one position a step, and given text behind a gap once", async () => {
    const model = await tinyModel(device(), "autoregressive");
    const computed: number[] = [];
    const request = { infill: "[MASK:3]the cat[MASK:2]" };
    let size = 0;
    for await (const step of generateSteps(model, [request], { earlyStop: "off", seed: 1 }, short)) {
      computed.push(step.computed);
      size = step.samples[0].ids.length;
    }
    expect(computed).toEqual([size, 1, 1, 1 + size - 5, 1]);
    await model.dispose();
  });
});
