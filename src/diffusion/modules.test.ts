/** @file The whole training loss of every preset: gradients against central differences, ONNX against float64, and invariance. */
import { describe, expect, it } from "vitest";
import { type PartialRunConfig, type PresetName, presetNames } from "../config/index.js";
import { mergeConfig } from "../config/layers.js";
import type { Row } from "../data/rows.js";
import {
  cast,
  cpuTarget,
  evaluate,
  type GraphModule,
  leavesOf,
  lower,
  mul,
  NDArray,
  parameter,
  rootsOf,
  sizeOf,
  type Tensor,
  type TensorData,
  tiedLogits,
  webgpuTarget,
} from "../graph/index.js";
import { distance, runOnnx, wave } from "../graph/testing/check.js";
import { topologicalOrder } from "../graph/walk.js";
import { denoiserParameters } from "../model/denoiser.js";
import { logitHead } from "../model/prediction.js";
import { channelModule, denoisingGraph, evaluationModule, trainingModule } from "./modules.js";
import { padRows } from "./padding.js";
import { makeRow, tinyBatch, tinyConfig, tinyParameters } from "./testing/tiny.js";

const variants: { name: string; preset: PresetName; extra?: PartialRunConfig }[] = [
  ...presetNames.map((preset) => ({ name: preset, preset })),
  {
    name: "moe-diffuseq, learned codebook, regression, post-norm, Switch loss, shared expert",
    preset: "moe-diffuseq",
    extra: {
      model: {
        codebook: "learned",
        prediction: "embedding",
        normPlacement: "post",
        selfConditioning: true,
        experts: { balance: "loss", sharedExpertSize: 3 },
      },
      diffusion: { mseWeight: 0.7, priorWeight: 0.5 },
    },
  },
  {
    name: "raw input, top-p router, dilated heads",
    preset: "moe-diffuseq",
    extra: {
      model: {
        inputDecoding: "none",
        attention: { dilation: [1, 2], window: 2 },
        experts: { router: "top-p" },
      },
    },
  },
  {
    name: "autoregressive, window, globals, experts",
    preset: "autoregressive",
    extra: {
      model: { attention: { full: false, globalTokens: 2 }, experts: { numExperts: 3, intermediateSize: 5 } },
    },
  },
  {
    name: "masked, expert choice, one full layer",
    preset: "masked",
    extra: { model: { attention: { layers: { 1: { full: true } } }, experts: { router: "expert-choice" } } },
  },
];

/** Inputs that only some variants have. */
function withSelfCondition(feeds: Record<string, TensorData>): Record<string, TensorData> {
  const { shape } = feeds.ids;
  const size = [...shape, 6];
  const data = Float32Array.from({ length: size.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i));
  return { ...feeds, selfCondition: { dtype: "float32", shape: size, data } };
}

/** Masks for the sites of dropout: every fifth element is dropped. */
function withDropout(module: GraphModule, feeds: Record<string, TensorData>): Record<string, TensorData> {
  const masks = [...leavesOf(lower(rootsOf(module)), "input")].filter(([name]) =>
    name.startsWith("dropout:"),
  );
  expect(masks).toHaveLength(7); // the input, and two in each of three layers
  const mask = ({ staticShape: shape }: Tensor): TensorData => ({
    dtype: "float32",
    shape,
    data: Float32Array.from({ length: sizeOf(shape) }, (_, i) => (i % 5 === 0 ? 0 : 1.25)),
  });
  return { ...feeds, ...Object.fromEntries(masks.map(([name, input]) => [name, mask(input)])) };
}

describe("training loss", () => {
  it.each(variants)("$name: every size is known in advance on a graphics card", ({ preset, extra }) => {
    const config = tinyConfig(preset, extra);
    const { shape } = tinyBatch(config, [makeRow(config, 0, [9], 13)]);
    for (const { outputs } of topologicalOrder(lower(rootsOf(trainingModule(config, shape)), webgpuTarget)))
      for (const { shape: known, node } of outputs) {
        expect(known, node.operator.name).not.toContain(null);
        expect(known, node.operator.name).not.toContain(0);
      }
  });

  it.each(variants)("$name: gradients agree with central differences", async ({ preset, extra }) => {
    const config = tinyConfig(preset, extra);
    const rows = [makeRow(config, 0, [9], 13), makeRow(config, 1, [4, 3], 13)];
    const batch = tinyBatch(config, rows);
    const feeds = withSelfCondition(batch.feeds);
    const parameters = tinyParameters(config);
    const training = trainingModule(config, batch.shape);
    const exact = evaluate(training, feeds, parameters);
    const fast = await Promise.all(
      [cpuTarget, webgpuTarget].map((target) => runOnnx(training, feeds, parameters, target)),
    );
    const evaluation = evaluationModule(config, batch.shape);
    const lossAt = (values: Record<string, NDArray | TensorData>) =>
      evaluate(evaluation, feeds, values).loss.data[0];
    expect(lossAt(parameters)).toBeCloseTo(exact.loss.data[0], 6);
    for (const { loss, nll } of fast) {
      expect(distance(loss, exact.loss)).toBeLessThan(1e-5);
      expect(distance(nll, exact.nll)).toBeLessThan(1e-5);
    }

    let checked = 0;
    const largest = Math.max(
      ...Object.keys(exact)
        .filter((n) => n.startsWith("gradient:"))
        .map((n) => Math.max(...exact[n].data.map(Math.abs))),
    );
    for (const { name, trainable } of denoiserParameters(config.model)) {
      if (!trainable) continue;
      const analytic = exact[`gradient:${name}`];
      for (const gradients of fast)
        expect(
          distance(gradients[`gradient:${name}`], analytic) * Math.max(...analytic.data.map(Math.abs), 1e-6),
          name,
        ).toBeLessThan(1e-5 * largest);
      // Along one direction per tensor, to which every entry adds: a wrong one shows in the sum.
      const start = NDArray.from(parameters[name]);
      const direction = wave(start.data.length, 11 + checked);
      const step = 1e-5;
      const shifted = (delta: number) => {
        const data = start.data.map((value, i) => value + delta * direction[i]);
        return lossAt({ ...parameters, [name]: new NDArray("float32", start.shape, data) });
      };
      const numeric = (shifted(step) - shifted(-step)) / (2 * step);
      const along = analytic.data.reduce((sum, slope, i) => sum + slope * direction[i], 0);
      expect(Math.abs(along - numeric), `${name}: ${along} against ${numeric}`).toBeLessThan(
        1e-6 * Math.max(1, largest),
      );
      checked++;
    }
    expect(checked).toBeGreaterThan(15);
  });

  it.each(["none", "layers"] as const)(
    "rows of many documents: equal whether blocks see all slots or those near; activation checkpointing %s",
    async (checkpointing) => {
      const config = tinyConfig("moe-diffuseq");
      const rows = [makeRow(config, 0, [4, 3, 2, 5, 3, 2], 33), makeRow(config, 1, [9, 3, 3], 33)];
      const { feeds, shape } = tinyBatch(config, rows);
      const parameters = tinyParameters(config);
      const all = evaluate(trainingModule(config, shape, checkpointing), feeds, parameters);
      const module = trainingModule(config, { ...shape, nearSlots: 4 }, checkpointing);
      const lowered = evaluate(module, feeds, parameters, { lowered: true });
      const fast = await runOnnx(module, feeds, parameters);
      expect(shape.globalSlots).toBe(12);
      for (const [name, expected] of Object.entries(all)) {
        expect(distance(lowered[name], expected), name).toBeLessThan(1e-9);
        expect(distance(fast[name], expected), name).toBeLessThan(1e-4);
      }
    },
  );

  it.each(["diffuseq", "diffuseq-v2", "moe-diffuseq"] as const)(
    "%s: with a head that says nothing it is the channel's",
    (preset) => {
      const config = tinyConfig(preset);
      const { feeds, shape } = tinyBatch(config, [
        makeRow(config, 0, [9], 13),
        makeRow(config, 1, [4, 3], 13),
      ]);
      const parameters = tinyParameters(config);
      for (const name of ["weight", "bias"].map((part) => `${logitHead(config.model)}.${part}`))
        parameters[name] = { ...parameters[name], data: new Float32Array(parameters[name].data.length) };
      parameters.output_bias = { ...parameters.output_bias, data: parameters.log_unigram.data };
      const model = evaluate(evaluationModule(config, shape), feeds, parameters);
      const channel = evaluate(channelModule(config, shape), feeds, parameters);
      const targets = [...feeds.given.data.keys()].filter((p) => Number(feeds.given.data[p]) === 0);
      expect(targets.length).toBeGreaterThan(5);
      for (const p of targets) expect(model.nll.data[p]).toBeCloseTo(channel.nll.data[p], 10);
    },
  );

  it("the channel tells tokens of codes of several lengths by their distance from the noisy code", async () => {
    const config = tinyConfig("diffuseq", { model: { embeddingNorm: "none", inputDecoding: "none" } });
    const { feeds, shape } = tinyBatch(config, [makeRow(config, 0, [9], 13), makeRow(config, 1, [4, 3], 13)]);
    const parameters = tinyParameters(config);
    const module = channelModule(config, shape);
    const { nll } = evaluate(module, feeds, parameters);
    expect(distance((await runOnnx(module, feeds, parameters)).nll, nll)).toBeLessThan(1e-5);
    const { embeddingSize, vocabSize } = config.model;
    const number = (name: string, at: number) => Number(feeds[name].data[at]);
    const code = (v: number) =>
      Array.from({ length: embeddingSize }, (_, d) =>
        Number(parameters["embeddings.weight"].data[v * embeddingSize + d]),
      );
    let noisy = 0;
    for (const p of feeds.channel.data.keys()) {
      if (number("channel", p) === 0) continue;
      noisy++;
      const [signal, sigma, id] = [number("signal", p), number("sigma", p), number("ids", p)];
      const z = code(id).map((x, d) => signal * x + sigma * number("noise", p * embeddingSize + d));
      const scores = Array.from({ length: vocabSize }, (_, v) => {
        const squares = code(v).reduce((sum, x, d) => sum + (z[d] - signal * x) ** 2 - z[d] ** 2, 0);
        return Number(parameters.log_unigram.data[v]) - (number("channel", p) / signal / 2) * squares;
      });
      const total = Math.log(scores.reduce((sum, x) => sum + Math.exp(x), 0));
      expect(nll.data[p]).toBeCloseTo(total - scores[id], 5);
    }
    expect(noisy).toBeGreaterThan(5);
  });

  it("moe-diffuseq: logits of noisy and of absorbed rows equal the plain sum of all that is said", () => {
    const config = tinyConfig("moe-diffuseq");
    const { vocabSize, embeddingSize, logitScale } = config.model;
    const { feeds, shape } = tinyBatch(config, [makeRow(config, 0, [9], 13), makeRow(config, 1, [4, 3], 13)]);
    const { embedding, tokens, logits, rowLogits } = denoisingGraph(config, shape);
    const bias = parameter("output_bias", [vocabSize]);
    const own = { x: mul(embedding, logitScale), table: tokens.table, bias };
    const plain = tiedLogits([own, { ...logits[0], bias: undefined }]);
    const groups = Object.fromEntries(
      rowLogits.flatMap(({ name, terms, rows }) => [
        [name, tiedLogits(terms)],
        [`${name} rows`, cast(rows, "float32")],
      ]),
    );
    const state = { dtype: "float32", shape: [2, 13, embeddingSize], data: feeds.noise.data } as const;
    const parameters = tinyParameters(config);
    const data = Float32Array.from({ length: vocabSize }, (_, v) => Math.sin(v));
    parameters.output_bias = { ...parameters.output_bias, data };
    const found = evaluate(
      { name: "logits", outputs: { plain, all: tiedLogits(logits), ...groups } },
      { ...feeds, state },
      parameters,
    );
    expect(Object.keys(groups)).toEqual(["gaussian", "gaussian rows", "absorbed", "absorbed rows"]);
    for (let row = 0; row < 26; row++) {
      const kinds = ["gaussian", "absorbed"].filter((kind) => found[`${kind} rows`].data[row] === 1);
      expect(kinds.length).toBe(Number(feeds.given.data[row]) === 0 ? 1 : 0);
      for (const kind of [...kinds, "all"])
        for (let at = row * vocabSize; at < (row + 1) * vocabSize; at++)
          expect(found[kind].data[at]).toBeCloseTo(found.plain.data[at], 9);
    }
    for (const kind of ["gaussian", "absorbed"]) expect(found[`${kind} rows`].data).toContain(1);
  });

  it("autoregressive: a token's likelihood depends on those before it in its document, and on no other", () => {
    for (const extra of [{}, { model: { attention: { full: false, globalTokens: 2 } } }]) {
      const config = tinyConfig("autoregressive", extra);
      const parameters = tinyParameters(config);
      const row = makeRow(config, 0, config.model.attention.globalTokens > 0 ? [5, 4] : [7, 4], 13);
      const nllOf = (changed: Row) => {
        const { feeds, shape } = tinyBatch(config, [changed]);
        return evaluate(evaluationModule(config, shape), feeds, parameters, { lowered: true }).nll.data;
      };
      const before = nllOf(row);
      const targets = Array.from(row.ids.keys()).filter((p) => row.given[p] === 0);
      expect(new Set(targets.map((p) => row.segment[p])).size).toBe(2);
      for (const at of targets) {
        const ids = row.ids.slice();
        ids[at] = (ids[at] + 1) % config.model.vocabSize;
        const after = nllOf({ ...row, ids });
        for (const p of targets) {
          const depends = p >= at && row.segment[p] === row.segment[at];
          if (depends) expect(Math.abs(after[p] - before[p]), `${p} on ${at}`).toBeGreaterThan(1e-9);
          else expect(after[p], `${p} on ${at}`).toBe(before[p]);
        }
      }
    }
  });

  it("autoregressive: the likelihoods of all texts of three tokens add up to 1", () => {
    const config = tinyConfig("autoregressive", { model: { vocabSize: 4 } });
    const parameters = tinyParameters(config);
    const flat = { given: new Uint8Array(3), segment: new Int32Array(3), position: Int32Array.of(0, 1, 2) };
    const rows = Array.from(
      { length: 64 },
      (_, text): Row => ({
        ...flat,
        sequence: text,
        ids: Int32Array.of(text >> 4, (text >> 2) & 3, text & 3),
        globals: new Int32Array(0),
      }),
    );
    const { feeds, shape } = tinyBatch(config, rows);
    const { nll, loss, ce } = evaluate(evaluationModule(config, shape), feeds, parameters, { lowered: true });
    const texts = rows.map((_, b) => nll.data.slice(3 * b, 3 * b + 3).reduce((a, x) => a + x, 0));
    expect(texts.reduce((sum, nats) => sum + Math.exp(-nats), 0)).toBeCloseTo(1, 9);
    expect(ce.data[0]).toBeCloseTo(nll.data.reduce((a, x) => a + x, 0) / nll.data.length, 6); // float32 weights
    expect(loss.data[0]).toBe(ce.data[0]);
  });

  it.each(variants)("$name: recomputed activations give the same gradients, to the bit", async (variant) => {
    const config = tinyConfig(
      variant.preset,
      mergeConfig({ model: { numLayers: 3, dropout: 0.2 } }, variant.extra ?? {}) as PartialRunConfig,
    );
    const rows = [makeRow(config, 0, [9], 13), makeRow(config, 1, [4, 3], 13)];
    const batch = tinyBatch(config, rows);
    const modules = (["none", "layers"] as const).map((kind) => trainingModule(config, batch.shape, kind));
    const feeds = withDropout(modules[0], withSelfCondition(batch.feeds));
    const [kept, again] = await Promise.all(
      modules.map((module) => runOnnx(module, feeds, tinyParameters(config))),
    );
    expect(Object.keys(again)).toEqual(Object.keys(kept));
    for (const [name, { data }] of Object.entries(kept)) expect(again[name].data, name).toEqual(data);
  });

  it.each(presetNames)(
    "%s: a row's loss is the same alone, in a batch, at any place in it, and padded",
    (preset) => {
      const config = tinyConfig(preset);
      const parameters = tinyParameters(config);
      const [a, b, c] = [
        makeRow(config, 4, [7], 13),
        makeRow(config, 5, [3, 2], 13),
        makeRow(config, 6, [8], 13),
      ];
      const nllOf = (rows: ReturnType<typeof makeRow>[], place: number) => {
        const { feeds, shape } = tinyBatch(config, rows);
        const { nll } = evaluate(evaluationModule(config, shape), feeds, parameters, { lowered: true });
        return nll.data.slice(place * shape.length, place * shape.length + 10);
      };
      const alone = nllOf([a], 0);
      const others = [
        nllOf([a, b], 0),
        nllOf([b, c, a], 2),
        nllOf(padRows([a], 19, 1), 0),
        nllOf(padRows([b, a], 17, 3), 1),
      ];
      for (const other of others)
        for (const [p, value] of alone.entries()) if (p < 7) expect(other[p]).toBeCloseTo(value, 10);
    },
  );
});
