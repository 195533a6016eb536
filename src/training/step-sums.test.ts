/** @file What a loss-aware time sampler hears of a step. */
import { expect, it } from "vitest";
import type { PartialRunConfig, PresetName } from "../config/index.js";
import { mergeConfig } from "../config/layers.js";
import { trainingModule } from "../diffusion/modules.js";
import { makeRow, tinyBatch, tinyConfig, tinyParameters } from "../diffusion/testing/tiny.js";
import type { TimeSampler } from "../diffusion/time-sampler.js";
import { alone } from "../distributed/index.js";
import { evaluate, type TensorData } from "../graph/index.js";
import { rowShare } from "./row-share.js";
import { type MicroBatch, sumOfStep } from "./step-sums.js";

const importance = [0.4, 1.7, 0.9, 1.2];
const times = [0.35, 0.5, 0.63, 0.9];
const sampler: TimeSampler = {
  draw: (sequence) => ({ time: times[sequence], weight: importance[sequence] }),
  observe: () => {},
  state: () => null,
  restore: () => {},
};

/** Two micro-batches of two rows: what the sampler hears of each row, the step's loss, and the plain likelihood of each row. */
async function heardIn(preset: PresetName, extra: PartialRunConfig) {
  const config = tinyConfig(
    preset,
    mergeConfig(extra, {
      // Nothing in the loss but what depends on the level.
      model: { experts: { zLossWeight: 0 } },
      diffusion: { timeSampler: "loss-aware", priorWeight: 0, absorbingNormWeight: 0 },
    }) as PartialRunConfig,
  );
  const plain: number[] = [];
  const parts = [0, 2].map((first) => {
    const rows = [makeRow(config, first, [9], 13), makeRow(config, first + 1, [5, 3], 13)];
    const { feeds, shape } = tinyBatch(config, rows, { timeSampler: sampler });
    const found = evaluate(trainingModule(config, shape), feeds, tinyParameters(config));
    const tensors = Object.entries(found).map(([name, value]) => [name, value.toTensorData()] as const);
    const outputs: Record<string, TensorData> = Object.fromEntries(tensors);
    const targets = new Float32Array(2 * 13);
    for (const [b, { given }] of rows.entries()) {
      const own = Array.from(given.keys()).filter((p) => given[p] === 0);
      for (const p of own) targets[b * 13 + p] = 1 / own.length;
      plain.push(own.reduce((sum, p) => sum + targets[b * 13 + p] * Number(outputs.nll.data[b * 13 + p]), 0));
    }
    const batch: MicroBatch = { rows, feeds, times: Array.from(feeds.time.data, Number), targets };
    return { batch, outputs };
  });
  const { losses, loss } = await sumOfStep(
    parts.map(({ batch }) => batch),
    parts.map(({ outputs }) => outputs),
    rowShare({ batchSize: 2, gradientAccumulation: 2 }, alone),
    alone,
    true,
  );
  return { heard: Array.from(losses), loss: loss[0] / 2, plain };
}

const elbo = { lossWeighting: "elbo" } as const;

it.each<[string, PresetName, PartialRunConfig]>([
  ["the bound of the masked limit", "masked", { diffusion: elbo }],
  [
    "the bound and the error of absorbed positions",
    "masked",
    { model: { prediction: "embedding" }, diffusion: { ...elbo, ceWeight: 0.6, mseWeight: 0.7 } },
  ],
  ["cross entropy and error of a Gaussian process", "diffuseq", { diffusion: { mseWeight: 2 } }],
  ["half of the rows absorbed", "moe-diffuseq", { diffusion: { ceWeight: 3 } }],
])("%s: what is heard, weighed by importance, is the loss", async (_name, preset, extra) => {
  const { heard, loss } = await heardIn(preset, extra);
  // Of one row of the masked limit nothing is absorbed.
  expect(heard.filter((value) => value > 0).length).toBeGreaterThan(2);
  const mean = heard.reduce((sum, value, sequence) => sum + (importance[sequence] * value) / 4, 0);
  expect(mean).toBeCloseTo(loss, 5);
});

it("of a Gaussian process without squared error it is the mean negative log likelihood, to the bit", async () => {
  const { heard, plain } = await heardIn("moe-diffuseq", {});
  expect(heard).toEqual(plain);
});
