/** Trains a tiny model on the embedded corpus for a few steps and writes a text. Run: npx tsx examples/train-and-generate.ts */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DiffusionModel, generate, resolveConfig, train } from "moe-diffuseq";

const overrides = {
  // tokens of the byte-level vocabulary, trained on the texts; width of the residual stream
  model: { vocabSize: 1024, hiddenSize: 64, numLayers: 2 },
  // documents are cut and packed into sequences of this length; raise maxSteps (or set maxMinutes) for a model worth reading
  training: { sequenceLength: 256, maxSteps: 20 },
};
const { out } = await train({
  config: resolveConfig({ preset: "moe-diffuseq", overrides }),
  out: join(mkdtempSync(join(tmpdir(), "example-")), "run"), // a run is a directory: config, tokenizer, weights, metrics
  onEvent: (event) => {
    if (event.kind === "step") console.log(`step ${event.metrics.step}: loss ${event.metrics.loss}`);
  },
});
const model = await DiffusionModel.fromPretrained(out);
const request = { prompt: "My fellow citizens," }; // or src, suffix, infill, or nothing at all
const [{ text }] = await generate(model, request, { length: 60, steps: 8, seed: 1 });
console.log(text);
await model.dispose();
