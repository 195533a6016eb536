/**
 * @file A model's directory, as training leaves it: `config.json`, `tokenizer.json`, `model.safetensors`, and, laid over the
 * configuration's defaults for drawing text, `generation_config.json`.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { RunConfig } from "../config/index.js";
import { show } from "../config/layers.js";
import { Tokenizer } from "../data/tokenizer.js";
import { PROGRAM, shellWord, UserError } from "../errors.js";
import { listCheckpoints } from "../hub/checkpoint-list.js";
import { requireRunConfig } from "../hub/run-config.js";
import { readSafetensors } from "../hub/safetensors.js";
import { denoiserParameters } from "../model/denoiser.js";

export interface Pretrained {
  readonly config: RunConfig;
  readonly tokenizer: Tokenizer;
  /** Every parameter and buffer of the model by name, float32, row-major. */
  readonly weights: Record<string, Float32Array>;
}

/** @throws UserError when a file is missing or broken, or the weights are not those of the configuration */
export async function readPretrained(folder: string): Promise<Pretrained> {
  const config = await readPretrainedConfig(folder);
  const weights = join(folder, "model.safetensors");
  const resume = `${PROGRAM} train --resume --out ${shellWord(folder)}`;
  const trained = (await listCheckpoints(folder)).length > 0;
  if (!existsSync(weights))
    throw new UserError(
      trained
        ? `${folder}: expected trained weights, found no model.safetensors; write it anew from the run's checkpoint: ${resume}`
        : `${folder}: expected trained weights, found no model.safetensors; training has not come to its first checkpoint: ` +
            `continue it with ${resume}`,
    );
  const tokenizer = await Tokenizer.load(folder);
  const mend = trained ? `Write it anew from the run's checkpoint: ${resume}` : undefined;
  const { tensors } = await readSafetensors(weights, { mend });
  return { config, tokenizer, weights: checkedWeights(config, tensors, weights) };
}

/** The configuration alone, with the run's own defaults for drawing text. @throws UserError when it is missing, broken or may not be read */
export async function readPretrainedConfig(folder: string): Promise<RunConfig> {
  if (typeof folder !== "string")
    throw new UserError(`model: expected the path of a trained run's directory, got ${show(folder)}`);
  return requireRunConfig(folder);
}

function checkedWeights(
  config: RunConfig,
  tensors: Awaited<ReturnType<typeof readSafetensors>>["tensors"],
  file: string,
): Record<string, Float32Array> {
  const definitions = denoiserParameters(config.model);
  const fail = (what: string): never => {
    throw new UserError(
      `${file}: expected the weights of the model in config.json, ${what}; the two belong to other runs`,
    );
  };
  const known = new Set(definitions.map(({ name }) => name));
  const extra = Object.keys(tensors).find((name) => !known.has(name));
  if (extra !== undefined) fail(`got "${extra}", which it does not have`);
  return Object.fromEntries(
    definitions.map(({ name, shape }) => {
      const tensor = tensors[name];
      if (tensor === undefined) return fail(`found no "${name}"`);
      if (!(tensor.data instanceof Float32Array)) return fail(`got "${name}" in another type than F32`);
      if (tensor.shape.join() !== shape.join())
        return fail(`whose "${name}" has shape [${shape}], got [${tensor.shape}]`);
      return [name, tensor.data];
    }),
  );
}
