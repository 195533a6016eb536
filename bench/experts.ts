/**
 * @file More experts at equal active parameters: time and memory of a step at `bench-small` with 8 experts and with four times as
 * many, top-2 of equal width.
 *
 *   npx tsx bench/experts.ts [--preset moe-diffuseq] [--experts 8,32] [--rounds 4] [--steps 1] [--threads 1]
 *
 * Both are processes of their own that take turns. Time is processor time, the least of all steps; with one thread it hardly depends
 * on what else the machine does. Memory is the peak of a step beyond what stands before it: model, parameters, optimiser state, batch.
 */
import { parseArgs } from "node:util";
import { StepProcess } from "../src/benchmark/step-process.js";
import { type ReferenceOptions, referenceStep } from "./reference-step.js";

const { values: flags } = parseArgs({
  options: {
    preset: { type: "string", default: "moe-diffuseq" },
    experts: { type: "string", default: "8,32" },
    rounds: { type: "string", default: "4" },
    steps: { type: "string", default: "1" },
    threads: { type: "string", default: "1" },
  },
});

const start = async (numExperts: number) => {
  const options: ReferenceOptions = {
    preset: flags.preset,
    documents: 1,
    extra: { model: { experts: { numExperts } } },
  };
  const { child } = await StepProcess.startOurs(`${numExperts} experts`, {
    config: referenceStep(options).config,
    documents: options.documents,
    threads: Number(flags.threads),
  });
  const { bytes: before } = await child.ask("reset");
  return { numExperts, child, before, milliseconds: [] as number[] };
};

const sides = [];
for (const numExperts of flags.experts.split(",").map(Number)) sides.push(await start(numExperts));
for (let round = 0; round < Number(flags.rounds); round++)
  for (const { child, milliseconds } of sides)
    milliseconds.push(...(await child.ask("steps", { count: Number(flags.steps) })).cpuMilliseconds);

console.log(
  `${flags.preset}, ${flags.threads} threads\n experts   ms/step    over   beyond parameters    over`,
);
let first: { time: number; bytes: number } | null = null;
for (const { numExperts, child, before, milliseconds } of sides) {
  const bytes = (await child.ask("memory")).peakBytes - before;
  const time = Math.min(...milliseconds);
  await child.end();
  first ??= { time, bytes };
  console.log(
    [
      String(numExperts).padStart(8),
      time.toFixed(0).padStart(9),
      (time / first.time).toFixed(2).padStart(7),
      `${(bytes / 2 ** 20).toFixed(0)} MiB`.padStart(19),
      (bytes / first.bytes).toFixed(2).padStart(7),
    ].join(" "),
  );
}
