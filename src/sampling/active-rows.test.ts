/**
 * @file A run on active rows against its oracle: the graph on all rows, in which every layer's keys and values are exchanged for the held
 * ones wherever a row is not active, evaluated in float64 by the slow forms of its composites.
 */
import { describe, expect, it } from "vitest";
import type { PartialRunConfig, PresetName, RunConfig } from "../config/index.js";
import { denoisingGraph, heldOutputs } from "../diffusion/modules.js";
import { makeRow, tinyBatch, tinyConfig, tinyParameters } from "../diffusion/testing/tiny.js";
import {
  evaluate,
  type GraphModule,
  greater,
  input,
  type NDArray,
  type Tensor,
  type TensorData,
  where,
} from "../graph/index.js";
import { apply } from "../graph/tensor.js";
import { runOnnx, wave } from "../graph/testing/check.js";
import { topologicalOrder } from "../graph/walk.js";
import { heldNames } from "../model/active-rows.js";
import type { BatchShape } from "../model/layout.js";
import { placeActiveRows, placeDrawnRows } from "./step-rows.js";

const variants: { name: string; preset: PresetName; extra?: PartialRunConfig }[] = [
  { name: "masked", preset: "masked" },
  { name: "moe-diffuseq", preset: "moe-diffuseq" },
  { name: "diffuseq: full attention, post-norm, sinusoids", preset: "diffuseq" },
  {
    name: "self-conditioned, two dilations, top-p, no globals",
    preset: "moe-diffuseq",
    extra: {
      model: {
        selfConditioning: true,
        inputConvolution: 5,
        attention: { window: 2, dilation: [1, 3], globalTokens: 0 },
        experts: { router: "top-p", sharedExpertSize: 3 },
      },
    },
  },
  { name: "causal", preset: "masked", extra: { model: { attention: { causal: true } } } },
  {
    name: "one full layer, without convolution",
    preset: "masked",
    extra: { model: { inputConvolution: 1, attention: { layers: { 1: { full: true } } } } },
  },
];

const LENGTH = 29;

/** Inputs of two rows, one padded, at a noise level of their own. */
function feedsOf(config: RunConfig, seed: number): { feeds: Record<string, TensorData>; shape: BatchShape } {
  const rows = [makeRow(config, seed, [26], LENGTH), makeRow(config, seed + 1, [20], LENGTH)];
  const { feeds, shape } = tinyBatch(config, rows);
  const wide = [2, LENGTH, config.model.embeddingSize];
  const floats = (at: number): TensorData => ({
    dtype: "float32",
    shape: wide,
    data: Float32Array.from(wave(wide[0] * wide[1] * wide[2], at)),
  });
  return { feeds: { ...feeds, state: floats(seed), selfCondition: floats(seed + 40) }, shape };
}

/** The module with the keys and values of all rows exchanged for held ones where `active` float32 [T, 1] is 0. */
function exchanged(config: RunConfig, shape: BatchShape): GraphModule {
  const graph = denoisingGraph(config, shape);
  const roots = [graph.embedding];
  const positions = shape.batchSize * shape.length;
  const active = input("active", "float32", [positions, 1]);
  const names = new Map(
    graph.keysAndValues.flatMap(({ key, value }, layer) => [
      [key, heldNames(layer).key] as const,
      [value, heldNames(layer).value] as const,
    ]),
  );
  const made = new Map<Tensor, Tensor>();
  for (const { operator, inputs, attributes, outputs } of topologicalOrder(roots)) {
    const own = inputs.map((x) => made.get(x)!);
    const next = inputs.every((x, i) => x === own[i]) ? outputs : apply(operator, own, attributes);
    for (const [i, out] of outputs.entries()) {
      const name = names.get(out);
      const held = name && input(name, "float32", out.staticShape);
      made.set(out, held ? where(cast01(active), next[i], held) : next[i]);
    }
  }
  return { name: "exchanged", outputs: { embedding: made.get(graph.embedding)! } };
}
const cast01 = (x: Tensor): Tensor => greater(x, 0.5);

describe.each(variants)("$name", ({ preset, extra }) => {
  const config = tinyConfig(preset, extra);
  const parameters = tinyParameters(config);
  const before = feedsOf(config, 1);
  const now = feedsOf(config, 9);
  const { shape } = now;
  const first = denoisingGraph(config, shape);
  const held = evaluate({ name: "held", outputs: heldOutputs(first) }, before.feeds, parameters);
  const g = config.model.attention.globalTokens;

  it.each([
    {
      title: "scattered rows",
      active: [
        [g, g + 1, 9, 15, 16, 17, 24],
        [4, 11, 12, 19],
      ],
    },
    { title: "rows of one sequence alone", active: [[], [g, 6, 7, 8, 9, 10, 11]] },
    {
      title: "every row but the globals",
      active: [26, 20].map((size) => Array.from({ length: size }, (_, i) => g + i)),
    },
  ])("$title: as if held keys and values stood in the graph of all rows", async ({ active }) => {
    const flags = new Float32Array(2 * LENGTH);
    for (const [b, positions] of active.entries()) for (const p of positions) flags[b * LENGTH + p] = 1;
    const feeds = {
      ...now.feeds,
      ...held,
      active: { dtype: "float32" as const, shape: [2 * LENGTH, 1], data: flags },
    };
    const oracle = evaluate(exchanged(config, shape), feeds, parameters).embedding;
    for (const group of [
      { slots: 4, span: 4 },
      { slots: 3, span: 11 },
    ]) {
      const placed = placeActiveRows(active, group, shape, 1);
      const module = {
        name: "active",
        outputs: { embedding: denoisingGraph(config, shape, placed.shape).embedding },
      };
      const own = { ...feeds, ...placed.feeds };
      const results = {
        slow: evaluate(module, own, parameters, { lowered: false }),
        lowered: evaluate(module, own, parameters, { lowered: true }),
        fast: await runOnnx(module, own, parameters),
      };
      for (const [name, { embedding }] of Object.entries(results))
        expect(farthest(embedding, oracle, placed.at), name).toBeLessThan(name === "fast" ? 2e-5 : 1e-6);
    }
  });
});

describe.each(variants)("a last layer for drawn rows alone, $name", ({ preset, extra }) => {
  const config = tinyConfig(preset, extra);
  const parameters = tinyParameters(config);
  const before = feedsOf(config, 1);
  const now = feedsOf(config, 9);
  const { shape } = now;
  const whole = denoisingGraph(config, shape);
  const held = evaluate({ name: "held", outputs: heldOutputs(whole) }, before.feeds, parameters);
  const g = config.model.attention.globalTokens;
  const draws = [[g, 9, 16, 24], [11]];
  const active = [
    [g, g + 1, 9, 15, 16, 17, 24],
    [4, 11, 12, 19],
  ];
  const group = { slots: 3, span: 11 };
  const drawn = placeDrawnRows(draws, group, shape, 1);
  const some = placeActiveRows(active, { slots: 4, span: 4 }, shape, 1);

  it.each([
    { title: "of all rows", rows: null },
    { title: "of active rows", rows: some },
  ])("$title: what the whole last layer says there", async ({ rows }) => {
    const graph = denoisingGraph(config, shape, rows?.shape ?? null, drawn.shape);
    const feeds = { ...now.feeds, ...held, ...rows?.feeds, ...drawn.feeds };
    const outputs = { whole: graph.embedding, drawn: graph.drawn!.embedding };
    const oracle = evaluate({ name: "whole", outputs: { whole: graph.embedding } }, feeds, parameters).whole;
    const module = { name: "drawn", outputs: { drawn: outputs.drawn } };
    const results = {
      slow: evaluate(module, feeds, parameters, { lowered: false }),
      lowered: evaluate(module, feeds, parameters, { lowered: true }),
      fast: await runOnnx(module, feeds, parameters),
    };
    for (const [name, { drawn: own }] of Object.entries(results))
      expect(farthest(own, oracle, drawn.at), name).toBeLessThan(name === "fast" ? 2e-5 : 1e-6);
  });
});

/** Largest difference of active rows to the same rows of the oracle. */
function farthest(actual: NDArray, oracle: NDArray, at: Int32Array): number {
  const width = oracle.shape[1];
  let worst = 0;
  let seen = 0;
  for (const position of at) {
    if (position < 0) continue;
    seen++;
    for (let d = 0; d < width; d++)
      worst = Math.max(
        worst,
        Math.abs(actual.data[position * width + d] - oracle.data[position * width + d]) || 0,
      );
  }
  expect(seen).toBeGreaterThan(0);
  return worst;
}
