/**
 * @file Training against length: time and memory per token of one step, batch of one, at the sizes of `bench-small`, with and without
 * activation checkpointing.
 *
 *   npx tsx bench/length.ts [--preset moe-diffuseq] [--lengths 1024,2048,...] [--checkpointing none,layers] [--steps 2] [--threads 1]
 *                           [--document 0]
 *                           [--set '{"model":{"numLayers":12}}']
 *
 * `--document`: tokens of a document, so that rows hold many; 0: one document a row. Time is the least processor time of a step, which with one thread hardly depends on what else the machine does. Memory is the peak
 * of a step beyond what stands before it: model, parameters, optimiser state and batch. Each row is a process of its own (Linux).
 */
import { parseArgs } from "node:util";
import { StepProcess } from "../src/benchmark/step-process.js";
import type { PartialRunConfig } from "../src/config/index.js";
import { type ReferenceOptions, referenceStep } from "./reference-step.js";

const { values: flags } = parseArgs({
  options: {
    preset: { type: "string", default: "moe-diffuseq" },
    lengths: { type: "string", default: "1024,2048,4096,8192,16384,32768,65536" },
    checkpointing: { type: "string", default: "none,layers" },
    steps: { type: "string", default: "2" },
    threads: { type: "string", default: "1" },
    document: { type: "string", default: "0" },
    set: { type: "string", default: "{}" },
  },
});
/** Flat is measured from here on: shorter rows are all window, and pay for what does not depend on length. */
const FROM = 4096;

interface Row {
  readonly length: number;
  readonly milliseconds: number;
  readonly bytes: number;
  /** Of the whole process. */
  readonly peakBytes: number;
}

async function measure(length: number, activationCheckpointing: "none" | "layers"): Promise<Row> {
  const set = JSON.parse(flags.set) as PartialRunConfig;
  const options: ReferenceOptions = {
    preset: flags.preset,
    documents: Number(flags.document) > 0 ? Math.floor(length / Number(flags.document)) : 1,
    batchSize: 1,
    extra: { ...set, training: { ...set.training, sequenceLength: length, activationCheckpointing } },
  };
  const { child } = await StepProcess.startOurs(`${length}`, {
    config: referenceStep(options).config,
    documents: options.documents,
    threads: Number(flags.threads),
  });
  const { bytes: before } = await child.ask("reset");
  const { cpuMilliseconds } = await child.ask("steps", { count: Number(flags.steps) });
  const { peakBytes } = await child.ask("memory");
  await child.end();
  return { length, milliseconds: Math.min(...cpuMilliseconds), bytes: peakBytes - before, peakBytes };
}

for (const kind of flags.checkpointing.split(",") as ("none" | "layers")[]) {
  console.log(`\n${flags.preset}, activation checkpointing: ${kind}, ${flags.threads} threads`);
  console.log("  length   ms/token  over 4k  KiB/token  over 4k   peak of the process");
  let reference: Row | null = null;
  for (const length of flags.lengths.split(",").map(Number)) {
    const row = await measure(length, kind);
    if (length >= FROM) reference ??= row;
    const ratio = (of: (row: Row) => number) =>
      reference ? (of(row) / row.length / (of(reference) / reference.length)).toFixed(2) : "";
    console.log(
      [
        String(length).padStart(8),
        (row.milliseconds / length).toFixed(3).padStart(10),
        ratio((r) => r.milliseconds).padStart(8),
        (row.bytes / length / 1024).toFixed(1).padStart(10),
        ratio((r) => r.bytes).padStart(8),
        `${(row.peakBytes / 2 ** 30).toFixed(2)} GiB`.padStart(14),
      ].join(" "),
    );
  }
}
