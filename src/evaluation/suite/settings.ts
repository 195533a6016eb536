/** @file The sizes of a suite's models, as `--set` has them: small enough for two cores, and smaller still to see that everything works. */

/** Laid over the preset moe-diffuseq. */
export const suiteSettings: readonly string[] = [
  "model.vocabSize=4096",
  "model.attention.window=64",
  "training.batchSize=8",
  "training.emaDecay=0.99",
  "training.evalEvery=50",
  "training.logEvery=10",
];

/** What a suite decides itself, task by task or by its budget and seeds; and the flag that does, where there is one. */
export const ownedSettings: Readonly<Record<string, string | null>> = {
  "data.train": "--data",
  "data.valid": "--data",
  "data.tokenizer": null,
  "data.padTargets": null,
  "training.packing": null,
  "training.evalSequences": null,
  "training.sequenceLength": null,
  "training.checkpointEvery": null,
  "training.seed": "--seeds",
  "training.maxMinutes": "--max-minutes",
  "training.maxTokens": "--max-tokens",
  "training.maxSteps": "--max-tokens",
  "generation.steps": "--steps",
  "generation.length": null,
  "generation.num": null,
  "generation.candidates": null,
  "generation.blockLength": null,
  "generation.seed": null,
};

/** Laid over these with --quick: what is learned so is next to nothing. */
export const quickSettings: readonly string[] = [
  "model.vocabSize=1024",
  "model.embeddingSize=64",
  "model.hiddenSize=96",
  "model.numLayers=2",
  "model.attention.window=32",
  "model.attention.globalTokens=4",
  "model.experts.intermediateSize=192",
  "diffusion.noiseScale=2",
  "training.evalEvery=20",
];

/** What --quick spends on a task. */
export const quickOptions = { minutes: 0.3, pairs: 1500, items: 12, steps: 8, length: 96 } as const;
