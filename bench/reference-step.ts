/** @file The step that scripts here measure: the reference configuration `bench-small` under a preset. */

import { type Workload, workload } from "../src/benchmark/workload.js";
import { configFromLayers, findPreset, type PartialRunConfig } from "../src/config/index.js";

export interface ReferenceOptions {
  readonly preset: string;
  /** Documents in a row of 2,048; with more than one the row also ends in padding. */
  readonly documents: number;
  /** Rows. Default 2. */
  readonly batchSize?: number;
  /** Laid over everything else. */
  readonly extra?: PartialRunConfig;
}

/** hidden 256, embedding 128, 4 heads, 4 layers, 8 experts top-2 of 512, window 128, 16 global tokens, vocabulary 8,192, 2 x 2,048. */
const benchSmall = {
  model: {
    vocabSize: 8192,
    embeddingSize: 128,
    hiddenSize: 256,
    numLayers: 4,
    numHeads: 4,
    attention: { window: 128, globalTokens: 16 },
    experts: { numExperts: 8, topK: 2, intermediateSize: 512 },
  },
  training: { batchSize: 2, sequenceLength: 2048 },
};

/** Preset "masked" or "moe-diffuseq" at the sizes of `bench-small`. */
export const referenceStep = ({ preset, documents, batchSize = 2, extra = {} }: ReferenceOptions): Workload =>
  workload(
    configFromLayers([
      { name: "preset", config: findPreset(preset).config },
      { name: "bench-small", config: benchSmall },
      { name: "batch", config: { training: { batchSize } } },
      { name: "extra", config: extra },
    ]),
    documents,
  );
