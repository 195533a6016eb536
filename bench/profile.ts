/**
 * @file Where the time of a training step goes: ONNX Runtime's own profile of `bench-small`, summed by operator and by part of the model.
 *
 *   npx tsx bench/profile.ts [--preset masked] [--documents 1] [--steps 6] [--threads N] [--rows 30] [--keep FILE]
 *                            [--set '{"model":{"experts":{"numExperts":32}}}']
 *
 * Every node counts with its least time over the steps. --keep saves the profile for chrome://tracing. `moe-diffuseq train --profile`
 * does the same for a run of one's own; here parts and operators are crossed, and shapes told apart.
 */
import { availableParallelism, loadavg } from "node:os";
import { parseArgs } from "node:util";
import type { PartialRunConfig } from "../src/config/index.js";
import { leavesOf, lower, rootsOf } from "../src/graph/index.js";
import { createDevice, leastTimes, totalTime } from "../src/runtime/index.js";
import { measureCeiling } from "../src/training/profile.js";
import { printProfile } from "./profile-tables.js";
import { referenceStep } from "./reference-step.js";

const { values: flags } = parseArgs({
  options: {
    preset: { type: "string", default: "masked" },
    documents: { type: "string", default: "1" },
    steps: { type: "string", default: "6" },
    threads: { type: "string", default: String(availableParallelism()) },
    rows: { type: "string", default: "30" },
    keep: { type: "string" },
    set: { type: "string", default: "{}" },
  },
});

const { definitions, values, module, feeds } = referenceStep({
  preset: flags.preset,
  documents: Number(flags.documents),
  extra: JSON.parse(flags.set) as PartialRunConfig,
});
const device = await createDevice("cpu", { threads: Number(flags.threads) });
const parameters = await device.createParameters(definitions, { training: true });
await parameters.write("value", values);
const inputs = [...leavesOf(lower(rootsOf(module)), "input").keys()].map((name) => [name, feeds[name]]);
const runs = await device.profile(module, Object.fromEntries(inputs), {
  parameters,
  runs: Number(flags.steps),
  keep: flags.keep,
});
const nodes = leastTimes(runs);
const ceiling = await measureCeiling(device);
await device.dispose();
const ms = (microseconds: number) => (microseconds / 1000).toFixed(0);
console.log(
  `${flags.preset}, ${flags.threads} threads: ${nodes.length} nodes, ${ms(totalTime(nodes))} ms ` +
    `(whole steps ${runs.map((run) => ms(totalTime(run))).join(" ")}), load ${loadavg()[0].toFixed(1)}; ` +
    `a product of 1,024 cubed: ${ceiling.toFixed(0)} GFLOP/s\n`,
);
printProfile(nodes, Number(flags.rows));
