/** @file A model small enough for float64 checks, on odd sizes: configuration of every preset, rows with several documents, values. */
import {
  type PartialRunConfig,
  type PresetName,
  presets,
  type RunConfig,
  runConfigSchema,
} from "../../config/index.js";
import { mergeConfig } from "../../config/layers.js";
import type { Row } from "../../data/rows.js";
import type { TensorData } from "../../graph/index.js";
import { denoiserParameters } from "../../model/denoiser.js";
import { initialParameters } from "../../model/initialise.js";
import type { BatchShape } from "../../model/layout.js";
import { CounterRandom, Stream } from "../../random/index.js";
import { type CorruptionOptions, corruptRows } from "../batch.js";

const tiny: PartialRunConfig = {
  model: {
    vocabSize: 11,
    embeddingSize: 6,
    hiddenSize: 8,
    numLayers: 2,
    numHeads: 2,
    embeddingInitScale: 0.5,
    feedForwardSize: 7,
    attention: { window: 3 },
    experts: { intermediateSize: 5 },
  },
  training: { sequenceLength: 13 },
};

/** The configuration of a preset at tiny size; `extra` is laid over it. */
export function tinyConfig(preset: PresetName, extra: PartialRunConfig = {}): RunConfig {
  const base = presets[preset] as PartialRunConfig;
  const sparse = base.model?.attention?.full
    ? {}
    : { model: { attention: { globalTokens: 2 }, experts: { numExperts: 3 } } };
  return runConfigSchema.parse(
    [base, tiny, sparse, extra].reduce((a, b) => mergeConfig(a, b) as PartialRunConfig, {}),
  );
}

/** A row made of documents of the given lengths, each behind g learned global tokens, padded to `length`. */
export function makeRow(
  config: RunConfig,
  sequence: number,
  documents: readonly number[],
  length: number,
): Row {
  const { vocabSize, attention } = config.model;
  const g = attention.globalTokens;
  const [ids, given, segment, position, globals]: number[][] = [[], [], [], [], []];
  for (const [document, size] of documents.entries()) {
    for (let p = 0; p < g + size; p++) {
      if (p < g) globals.push(ids.length);
      ids.push(p < g ? vocabSize + p : (sequence * 7 + document * 3 + p * p) % vocabSize);
      given.push(Number(p < g || (p === g && size > 2))); // the first word of a longer document is a condition
      segment.push(document);
      position.push(p);
    }
  }
  while (ids.length < length) {
    ids.push(0);
    given.push(1);
    segment.push(-1);
    position.push(0);
  }
  return {
    sequence,
    ids: Int32Array.from(ids),
    given: Uint8Array.from(given),
    segment: Int32Array.from(segment),
    position: Int32Array.from(position),
    globals: Int32Array.from(globals),
  };
}

/** Starting values, with the unigram prior away from zero. */
export function tinyParameters(config: RunConfig, seed = 5): Record<string, TensorData> {
  const definitions = denoiserParameters(config.model);
  const values = initialParameters(definitions, new CounterRandom(seed), Stream.Init);
  for (const { name, shape } of definitions) {
    const [dims, data] = [shape, values[name]];
    // Nothing may be at a special point: biases and flags start away from zero.
    if (data.every((v) => v === 0))
      for (let i = 0; i < data.length; i++) data[i] = 0.2 * Math.sin(3 * i + dims.length);
  }
  return Object.fromEntries(
    definitions.map(({ name, shape }) => [name, { dtype: "float32" as const, shape, data: values[name] }]),
  );
}

export function tinyBatch(
  config: RunConfig,
  rows: readonly Row[],
  options: CorruptionOptions = {},
): { feeds: Record<string, TensorData>; shape: BatchShape } {
  const globalSlots = options.maxGlobals ?? Math.max(...rows.map((r) => r.globals.length));
  const feeds = corruptRows(rows, config, new CounterRandom(3), { ...options, maxGlobals: globalSlots });
  return { feeds, shape: { batchSize: rows.length, length: rows[0].ids.length, globalSlots } };
}

/** Only the feeds a program asks for. */
export const feedsFor = (
  inputs: readonly { readonly name: string }[],
  feeds: Record<string, TensorData>,
): Record<string, TensorData> => Object.fromEntries(inputs.map(({ name }) => [name, feeds[name]]));
