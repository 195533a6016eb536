/** @file A model small enough to write texts in milliseconds: tiny network, a tokenizer of bytes and a few words, drawn parameters. */
import type { PartialRunConfig, PresetName, RunConfig } from "../../config/index.js";
import { Tokenizer } from "../../data/tokenizer.js";
import { tinyConfig } from "../../diffusion/testing/tiny.js";
import { denoiserParameters } from "../../model/denoiser.js";
import { OUTPUT_BIAS } from "../../model/embeddings.js";
import { initialParameters } from "../../model/initialise.js";
import { CounterRandom, Stream } from "../../random/index.js";
import type { Device } from "../../runtime/index.js";
import { DiffusionModel } from "../model.js";

export const VOCAB_SIZE = 272;

let tokenizer: Promise<Tokenizer> | undefined;

/** Bytes, special tokens and 13 merges. */
export const tinyTokenizer = (): Promise<Tokenizer> => {
  tokenizer ??= Tokenizer.train(
    ["the cat sat on the mat, the hat and the other cat; née Zoë, 東京 ".repeat(3)],
    {
      vocabSize: VOCAB_SIZE,
    },
  );
  return tokenizer;
};

export const tinyRunConfig = (preset: PresetName, extra: PartialRunConfig = {}): RunConfig =>
  tinyConfig(preset, { ...extra, model: { ...extra.model, vocabSize: VOCAB_SIZE } });

/** Drawn parameters, livelier than those training starts from, so that different states yield different texts. */
export function tinyWeights(config: RunConfig, seed = 7): Record<string, Float32Array> {
  const weights = initialParameters(denoiserParameters(config.model), new CounterRandom(seed), Stream.Init);
  for (const [name, values] of Object.entries(weights))
    if (name.endsWith("output.weight") || name === "logit_head.weight")
      for (let i = 0; i < values.length; i++) values[i] *= 10;
  return weights;
}

export async function tinyModel(
  device: Device,
  preset: PresetName,
  extra: PartialRunConfig = {},
  change: (weights: Record<string, Float32Array>) => void = () => {},
): Promise<DiffusionModel> {
  const config = tinyRunConfig(preset, extra);
  const weights = tinyWeights(config);
  change(weights);
  return DiffusionModel.fromWeights(config, await tinyTokenizer(), weights, { device });
}

/** A change of weights after which one token is certain everywhere. */
export const forceToken =
  (id: number) =>
  (weights: Record<string, Float32Array>): void => {
    weights[OUTPUT_BIAS][id] = 1e4;
  };

/** Keeps nothing between steps: every token is a run over the whole text. The oracle of what is kept. */
export class LoopModel extends DiffusionModel {
  override get keeps(): boolean {
    return false;
  }

  static async tiny(device: Device, preset: PresetName, extra: PartialRunConfig = {}): Promise<LoopModel> {
    const config = tinyRunConfig(preset, extra);
    const parameters = await device.createParameters(denoiserParameters(config.model));
    await parameters.write("value", tinyWeights(config));
    return new LoopModel({ config, tokenizer: await tinyTokenizer(), device, parameters });
  }
}
