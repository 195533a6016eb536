/** Trains a tiny model on the embedded corpus for a few steps and writes a text. Run: npx tsx examples/train-and-generate.ts */
import { mkdtempSync } from "node:fs";
import { DiffusionModel, generate, resolveConfig, train } from "moe-diffuseq";

const sets = [
  "model.vocabSize=1024", // tokens of the byte-level vocabulary, trained on the texts
  "model.hiddenSize=64", // width of the residual stream
  "model.numLayers=2",
  "training.sequenceLength=256", // documents are cut and packed into sequences of this length
  "training.maxSteps=20", // raise it (or set training.maxMinutes) for a model worth reading
];
const { out } = await train({
  config: resolveConfig({ preset: "moe-diffuseq", sets }),
  out: `${mkdtempSync("/tmp/example-")}/run`, // a run is a directory: config, tokenizer, weights, metrics
  onEvent: (event) => {
    if (event.kind === "step") console.log(`step ${event.metrics.step}: loss ${event.metrics.loss}`);
  },
});
const model = await DiffusionModel.fromPretrained(out);
const request = { prompt: "My fellow citizens," }; // or src, suffix, infill, or nothing at all
const [{ text }] = await generate(model, request, { length: 60, steps: 8, seed: 1 });
console.log(text);
await model.dispose();
