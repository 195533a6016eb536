/** @file A base for twins that computes in milliseconds. */
import { configFromLayers, presets, type RunConfig } from "../../../config/index.js";

export const tinyBase = (): RunConfig =>
  configFromLayers([
    { name: "preset", config: presets["moe-diffuseq"] },
    {
      name: "tiny",
      config: {
        model: {
          vocabSize: 300,
          embeddingSize: 8,
          hiddenSize: 16,
          numLayers: 1,
          numHeads: 2,
          attention: { window: 8, globalTokens: 2 },
          experts: { numExperts: 3, topK: 1, intermediateSize: 12 },
        },
        training: { batchSize: 4, evalEvery: 1 },
      },
    },
  ]);
