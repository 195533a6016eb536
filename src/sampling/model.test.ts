import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { writeSafetensors } from "../hub/safetensors.js";
import { denoiserParameters } from "../model/denoiser.js";
import { createDevice } from "../runtime/index.js";
import { generate } from "./generate.js";
import { DiffusionModel } from "./model.js";
import { tinyModel, tinyRunConfig, tinyTokenizer, tinyWeights } from "./testing/tiny-model.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "model-"));
});
afterEach(() => rm(folder, { recursive: true }));

const config = tinyRunConfig("moe-diffuseq");

async function save(change: (shapes: Record<string, readonly number[]>) => void = () => {}): Promise<void> {
  const weights = tinyWeights(config);
  const shapes = Object.fromEntries(denoiserParameters(config.model).map(({ name, shape }) => [name, shape]));
  change(shapes);
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  await (await tinyTokenizer()).save(folder);
  const tensors = Object.entries(shapes).map(([name, shape]) => [
    name,
    { shape, data: weights[name] ?? new Float32Array(1) },
  ]);
  await writeSafetensors(join(folder, "model.safetensors"), Object.fromEntries(tensors));
}

describe("a model from a directory", () => {
  it("writes what the model that was saved writes", async () => {
    await save();
    const settings = { length: 10, steps: 3 };
    const device = await createDevice("cpu", { threads: 1 });
    const model = await tinyModel(device, "moe-diffuseq");
    const expected = await generate(model, {}, settings);
    await device.dispose();
    const loaded = await DiffusionModel.fromPretrained(folder, { threads: 1 });
    expect(await generate(loaded, {}, settings)).toEqual(expected);
    await loaded.dispose();
    await expect(generate(loaded, {}, settings)).rejects.toThrow("disposed");
  });

  it("runs with its weights in eight bits, and writes the same text alone and in a batch", async () => {
    await save();
    const q8 = await DiffusionModel.fromPretrained(folder, { threads: 1, dtype: "q8" });
    const settings = { length: 10, steps: 3 };
    const [alone] = await generate(q8, {}, settings);
    const many = await generate(q8, {}, { ...settings, num: 3 });
    expect(many[0]).toEqual(alone);
    expect(new Set(many.map(({ text }) => text)).size).toBe(3);
    const cached = { ...settings, steps: 5, cacheInterval: 3 };
    const [kept] = await generate(q8, {}, cached);
    expect((await generate(q8, {}, { ...cached, num: 3 }))[0]).toEqual(kept);
    // Programs hold the weights themselves.
    const program = await q8.denoiser(1, 64, {
      guess: false,
      guided: false,
      rows: "all",
      drawn: null,
      rounding: "logits",
      hold: false,
    });
    expect(program.executable.program.parameters).toEqual([]);
    await program.release();
    await q8.dispose();
    const dtype = "q4" as "q8";
    await expect(DiffusionModel.fromPretrained(folder, { threads: 1, dtype })).rejects.toThrow(
      'dtype: expected fp32 or q8, got "q4"',
    );
  });

  it.each(["moe-diffuseq", "masked"] as const)(
    "%s in eight bits: the same text alone, in a batch, padded, with one thread and two, keys kept or not",
    async (preset) => {
      const own = tinyRunConfig(preset);
      const weights = tinyWeights(own);
      const write = async (threads: number, num: number, lengthMultiple: number) => {
        const model = await DiffusionModel.fromWeights(own, await tinyTokenizer(), weights, {
          threads,
          dtype: "q8",
        });
        const texts = [];
        for (const some of [{}, { cacheInterval: 3 }, { release: "confidence" }] as const) {
          const settings = { length: 30, steps: 5, num, ...some, seed: 3 };
          const [{ ids }] = await generate(model, { prompt: "the" }, settings, { lengthMultiple });
          texts.push([...ids]);
        }
        await model.dispose();
        return texts;
      };
      const alone = await write(1, 1, 32);
      expect(await write(2, 3, 32)).toEqual(alone);
      expect(await write(1, 2, 80)).toEqual(alone);
    },
  );

  it("takes its defaults for drawing from generation_config.json", async () => {
    await save();
    await writeFile(join(folder, "generation_config.json"), JSON.stringify({ length: 7, steps: 2 }));
    const model = await DiffusionModel.fromPretrained(folder, { device: "reference" });
    expect(model.config.generation).toMatchObject({ length: 7, steps: 2, temperature: 0.8 });
    await model.dispose();
  });

  it("that is cut short or missing says how to write it anew where the run has a checkpoint", async () => {
    await save();
    const file = join(folder, "model.safetensors");
    const whole = await readFile(file);
    const load = () => DiffusionModel.fromPretrained(folder, { device: "reference" });
    const cut = `${file} is cut short: expected ${whole.length} bytes, got ${whole.length - 9} (9 missing, from tensor`;
    await writeFile(file, whole.subarray(0, -9));
    await expect(load()).rejects.toThrow(cut);
    await expect(load()).rejects.toThrow("Copy or download it again.");
    await mkdir(join(folder, "checkpoints", "step-00000004"), { recursive: true });
    const resume = `npx moe-diffuseq train --resume --out ${folder}`;
    await expect(load()).rejects.toThrow(cut);
    await expect(load()).rejects.toThrow(`Write it anew from the run's checkpoint: ${resume}`);
    await writeFile(file, "no tensors at all");
    await expect(load()).rejects.toThrow(`Write it anew from the run's checkpoint: ${resume}`);
    await rm(file);
    await expect(load()).rejects.toThrow(`write it anew from the run's checkpoint: ${resume}`);
    await rm(join(folder, "checkpoints"), { recursive: true });
    await expect(load()).rejects.toThrow(`has not come to its first checkpoint: continue it with ${resume}`);
  });

  it("says what is missing or does not belong together", async () => {
    const load = () => DiffusionModel.fromPretrained(folder, { device: "reference" });
    await expect(load()).rejects.toThrow("found no config.json");
    await writeFile(join(folder, "config.json"), "{}");
    await expect(load()).rejects.toThrow("found no model.safetensors");
    await save((shapes) => delete shapes["input.bias"]);
    await expect(load()).rejects.toThrow('found no "input.bias"');
    await save((shapes) => {
      shapes.other = [1];
    });
    await expect(load()).rejects.toThrow('got "other"');
    await save((shapes) => {
      shapes["embeddings.weight"] = [...shapes["embeddings.weight"]].reverse();
    });
    await expect(load()).rejects.toThrow('"embeddings.weight" has shape');
    await save();
    const tokenizer = JSON.parse(await readFile(join(folder, "tokenizer.json"), "utf8"));
    const [merge] = tokenizer.model.merges.splice(-1);
    delete tokenizer.model.vocab[merge.join("")];
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
    await expect(load()).rejects.toThrow(
      "expected a tokenizer of 272 tokens (model.vocabSize), got one of 271",
    );
  });
});
