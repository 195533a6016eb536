/** @file A run small enough to train in a second: real texts, every part of the model, a directory as training leaves it. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configFromLayers, type PartialRunConfig, type PresetName, presets } from "../../config/index.js";
import { embeddedCorpus } from "../../data/index.js";
import { readSafetensors, writeSafetensors } from "../../hub/index.js";
import { train } from "../../training/trainer.js";

export interface TinyRun {
  /** Where everything of the run lies, its texts included. */
  readonly folder: string;
  readonly path: string;
  /** JSON Lines of texts that the run has not seen. */
  readonly unseen: string;
}

const jsonLines = (texts: readonly string[]) => texts.map((text) => `${JSON.stringify({ text })}\n`).join("");

export async function tinyRun(preset: PresetName, extra: PartialRunConfig = {}): Promise<TinyRun> {
  const folder = await mkdtemp(join(tmpdir(), "moe-diffuseq-evaluation-"));
  const texts = embeddedCorpus().map(({ text }) => text!.slice(0, 600));
  const [data, valid, unseen] = ["train", "valid", "unseen"].map((name) => join(folder, `${name}.jsonl`));
  await writeFile(data, jsonLines(texts.slice(0, 24)));
  await writeFile(valid, jsonLines(texts.slice(24, 30)));
  await writeFile(unseen, jsonLines(texts.slice(30, 33)));
  const dense = presets[preset].model.attention.full;
  const config = configFromLayers([
    { name: preset, config: presets[preset] },
    {
      name: "tiny",
      config: {
        preset,
        model: {
          vocabSize: 300,
          embeddingSize: 8,
          hiddenSize: 16,
          numLayers: 2,
          numHeads: 2,
          feedForwardSize: 24,
          attention: { window: 8, globalTokens: dense ? 0 : 3 },
          experts: dense ? {} : { numExperts: 3, intermediateSize: 12 },
        },
        training: { sequenceLength: 64, batchSize: 3, evalSequences: 5, maxSteps: 2 },
        data: { train: [data], valid: [valid] },
      },
    },
    { name: "extra", config: extra },
  ]);
  const path = join(folder, "run");
  await train({ config, out: path, threads: 1 });
  return { folder, path, unseen };
}

export const removeRun = ({ folder }: TinyRun): Promise<void> => rm(folder, { recursive: true });

/** Silences the network: its logits are then those of the channel (masked limit: the unigram frequencies). */
export async function silence({ path }: TinyRun): Promise<void> {
  const file = join(path, "model.safetensors");
  const { tensors, metadata } = await readSafetensors(file);
  for (const name of ["output.weight", "output.bias"]) (tensors[name].data as Float32Array).fill(0);
  (tensors.output_bias.data as Float32Array).set(tensors.log_unigram.data as Float32Array);
  await writeSafetensors(file, tensors, metadata);
}
