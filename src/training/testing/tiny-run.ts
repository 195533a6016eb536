/** @file A run of seconds: a small corpus on disk and a configuration to match. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type PartialRunConfig,
  type PresetName,
  presets,
  type RunConfig,
  runConfigSchema,
} from "../../config/index.js";
import { mergeConfig } from "../../config/layers.js";
import { embeddedCorpus } from "../../data/index.js";

/** A JSONL file of `count` short pieces of the embedded corpus. */
export function writeCorpus(folder: string, count = 24): string {
  const path = join(folder, "texts.jsonl");
  const lines = embeddedCorpus("train")
    .slice(0, count)
    .map(({ text }, i) => JSON.stringify({ text: text!.slice(0, 300 + 60 * (i % 5)) }));
  writeFileSync(path, `${lines.join("\n")}\n`);
  return path;
}

export function tinyRunConfig(corpus: string, preset: PresetName, extra: PartialRunConfig = {}): RunConfig {
  const sparse = (presets[preset] as PartialRunConfig).model?.attention?.full
    ? {}
    : { attention: { window: 8, globalTokens: 2 }, experts: { numExperts: 3, intermediateSize: 12 } };
  const tiny: PartialRunConfig = {
    preset,
    model: {
      vocabSize: 320,
      embeddingSize: 8,
      hiddenSize: 16,
      numLayers: 1,
      numHeads: 2,
      feedForwardSize: 24,
      ...sparse,
    },
    training: {
      batchSize: 2,
      sequenceLength: 48,
      maxSteps: 10,
      evalEvery: 4,
      evalSequences: 3,
      checkpointEvery: 3,
      logEvery: 1,
      emaDecay: 0.9,
    },
    data: { train: [corpus] },
  };
  return runConfigSchema.parse(
    [presets[preset] as PartialRunConfig, tiny, extra].reduce(
      (a, b) => mergeConfig(a, b) as PartialRunConfig,
      {},
    ),
  );
}
