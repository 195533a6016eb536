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
import {
  createDevice,
  groupTimes,
  leastTimes,
  type NodeTime,
  partOf,
  phaseOf,
  totalTime,
} from "../src/runtime/index.js";
import { measureCeiling } from "../src/training/profile.js";
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
const place = (node: NodeTime) => `${phaseOf(node)} ${partOf(node)}`;
table("operator", ({ operator }) => operator);
table("part", place);
table("part and operator", (node) => `${place(node)}  ${node.operator}`);
table("operator on shapes", (node) => `${node.operator} ${node.shapes}  ${place(node)}`);

/** Prints the groups that take most time. */
function table(title: string, keyOf: (node: NodeTime) => string): void {
  console.log(`      ms  share  count  GFLOP/s  ${title}`);
  for (const { name, count, microseconds, flops } of groupTimes(nodes, keyOf).slice(0, Number(flags.rows))) {
    const columns = [
      (microseconds / 1000).toFixed(1).padStart(8),
      `${((100 * microseconds) / totalTime(nodes)).toFixed(1)}%`.padStart(6),
      String(count).padStart(6),
      (flops > 0 ? (flops / microseconds / 1000).toFixed(0) : "").padStart(8),
    ];
    console.log(`${columns.join(" ")}  ${name}`);
  }
  console.log();
}
