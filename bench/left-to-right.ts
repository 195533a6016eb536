/**
 * @file What a token costs that is written from left to right, with the keys and values of the text so far kept and without: the same
 * model, the same texts, step by step.
 *
 *   npx tsx bench/left-to-right.ts [--preset autoregressive] [--length 512] [--texts 1,8] [--rounds 1] [--without-steps 32] [--threads N]
 *                                  [--experts 0] [--model DIR] [--json]
 *
 * Without --model the weights are those training starts from at the sizes of `bench-small`: speed does not depend on them. Without kept
 * keys every step is a run over all texts and positions, and costs what any other costs; so --without-steps of them (0: all) stand for
 * all, spread between the steps with kept keys. Where all are run, the texts of both sides must be equal to the last token. Processor time, of all threads,
 * is what to compare where other work runs beside.
 */
import { availableParallelism, cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { median } from "../src/benchmark/statistics.js";
import { embeddedCorpus, Tokenizer } from "../src/data/index.js";
import { denoiserParameters } from "../src/model/denoiser.js";
import { createDevice } from "../src/runtime/index.js";
import { DiffusionModel, generateSteps, type StepEvent } from "../src/sampling/index.js";
import { readPretrained } from "../src/sampling/pretrained.js";
import { LoopModel } from "../src/sampling/testing/tiny-model.js";
import { referenceStep } from "./reference-step.js";

const { values: flags } = parseArgs({
  options: {
    preset: { type: "string", default: "autoregressive" },
    length: { type: "string", default: "512" },
    texts: { type: "string", default: "1,8" },
    rounds: { type: "string", default: "1" },
    "without-steps": { type: "string", default: "32" },
    threads: { type: "string", default: String(availableParallelism()) },
    experts: { type: "string", default: "0" },
    model: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const [length, rounds, withoutSteps] = [flags.length, flags.rounds, flags["without-steps"]].map(Number);

async function untrained() {
  const experts = { numExperts: Number(flags.experts) };
  const extra = { model: { attention: { globalTokens: 0 }, experts } };
  const { config, values } = referenceStep({ preset: flags.preset, documents: 1, extra });
  const texts = embeddedCorpus("train").map(({ text }) => text!);
  const tokenizer = await Tokenizer.train(texts, { vocabSize: config.model.vocabSize });
  return { config, tokenizer, weights: values };
}
const { config, tokenizer, weights } = flags.model ? await readPretrained(flags.model) : await untrained();
if (config.diffusion.objective !== "next-token")
  throw new Error(`expected a model that writes from left to right, got preset ${flags.preset}`);
const device = await createDevice("cpu", { threads: Number(flags.threads) });
const parameters = await device.createParameters(denoiserParameters(config.model));
await parameters.write("value", weights);
const kept = new DiffusionModel({ config, tokenizer, device, parameters });
const without = new LoopModel({ config, tokenizer, device, parameters });

interface Side {
  readonly steps: AsyncGenerator<StepEvent, void, undefined>;
  readonly milliseconds: number[];
  readonly processor: number[];
  ids: readonly number[][];
}

/** One more step of a side; false: there is none. */
async function advance(side: Side): Promise<boolean> {
  const used = process.cpuUsage();
  const start = performance.now();
  const { value, done } = await side.steps.next();
  if (done || !value) return false;
  const { user, system } = process.cpuUsage(used);
  side.milliseconds.push(performance.now() - start);
  side.processor.push((user + system) / 1000);
  if (value.finished.length > 0) side.ids = value.finished.map(({ ids }) => Array.from(ids));
  return true;
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const results = [];
console.log(
  `${flags.model ?? flags.preset}, ${length} tokens a text, ${flags.threads} threads, ${cpus()[0].model}, load ${loadavg()[0].toFixed(1)}`,
);
for (const num of flags.texts.split(",").map(Number)) {
  const settings = { length, num, earlyStop: "off" } as const;
  for (let round = 0; round < rounds; round++) {
    const open = (model: DiffusionModel): Side => ({
      steps: generateSteps(model, [{}], settings, { maxBatch: num }),
      milliseconds: [],
      processor: [],
      ids: [],
    });
    const [ours, theirs] = [open(kept), open(without)];
    const wanted = withoutSteps === 0 ? length : Math.min(length, withoutSteps);
    for (let step = 0; await advance(ours); step++)
      if (Math.floor((step * wanted) / length) !== Math.floor(((step + 1) * wanted) / length))
        await advance(theirs);
    while (wanted === length && (await advance(theirs)));
    const whole = theirs.ids.length > 0;
    await theirs.steps.return();
    // The first two steps compile, and ours is a run over the whole text.
    const perStep = (values: readonly number[]) => median(values.slice(2));
    const result = {
      texts: num,
      kept: {
        step: perStep(ours.milliseconds),
        processor: perStep(ours.processor),
        total: sum(ours.milliseconds),
      },
      without: { step: perStep(theirs.milliseconds), processor: perStep(theirs.processor) },
      equal: whole ? JSON.stringify(ours.ids) === JSON.stringify(theirs.ids) : null,
    };
    results.push(result);
    console.log(
      `  ${num} at a time: a step ${result.kept.step.toFixed(2)} ms kept, ${result.without.step.toFixed(1)} ms without ` +
        `(${(result.without.step / result.kept.step).toFixed(1)}x); processor ${result.kept.processor.toFixed(2)} and ` +
        `${result.without.processor.toFixed(1)} ms (${(result.without.processor / result.kept.processor).toFixed(1)}x); ` +
        `${((1000 * num * length) / result.kept.total).toFixed(0)} tokens a second kept, all told` +
        (result.equal === null ? "" : `; texts ${result.equal ? "equal" : "DIFFER"}`),
    );
    if (result.equal === false) process.exitCode = 1;
  }
}
await Promise.all([kept.dispose(), without.dispose()]);
await device.dispose();
if (flags.json) console.log(JSON.stringify({ flags, results }));
