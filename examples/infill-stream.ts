/** Fills two gaps in a text and shows every denoising step. Run: npx tsx examples/infill-stream.ts [directory of a run] */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DiffusionModel, generateSteps, resolveConfig, train } from "moe-diffuseq";

let folder = process.argv[2];
if (!folder) {
  folder = join(mkdtempSync(join(tmpdir(), "example-")), "run");
  const overrides = {
    model: { vocabSize: 1024, hiddenSize: 64, numLayers: 1 },
    training: { sequenceLength: 256, maxSteps: 5 },
  };
  await train({ config: resolveConfig({ preset: "masked", overrides }), out: folder });
}
const model = await DiffusionModel.fromPretrained(folder);
const request = { infill: ["The Congress shall ", { gap: 6 }, " the States, and ", { gap: 4 }, "."] };
for await (const { step, of, samples, finished } of generateSteps(model, [request], { steps: 6, seed: 7 })) {
  console.log(`${step}/${of}`, samples[0]?.text);
  if (finished.length > 0) console.log("filled in:", finished[0]?.gaps);
}
await model.dispose();
