/**
 * @file Where the time of a training step goes: ONNX Runtime's own profile of `bench-small`, summed by operator and by part of the model.
 *
 *   npx tsx bench/profile.ts [--preset masked] [--documents 1] [--steps 6] [--threads N] [--rows 30] [--keep FILE]
 *
 * Every node counts with its least time over the steps. --keep saves the profile for chrome://tracing.
 */
import { availableParallelism, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { Tensor } from "onnxruntime-node";
import { writeOnnx } from "../src/graph/index.js";
import { referenceStep } from "./reference-step.js";
import { leastTimes, type NodeTime, totalTime, trace } from "./trace.js";

const { values: flags } = parseArgs({
  options: {
    preset: { type: "string", default: "masked" },
    documents: { type: "string", default: "1" },
    steps: { type: "string", default: "6" },
    threads: { type: "string", default: String(availableParallelism()) },
    rows: { type: "string", default: "30" },
    keep: { type: "string" },
  },
});

const { definitions, values, module, feeds } = referenceStep({
  preset: flags.preset,
  documents: Number(flags.documents),
});
const program = writeOnnx(module);
const shapes = new Map(definitions.map(({ name, shape }) => [name, shape]));
const inputs: Record<string, Tensor> = {};
for (const { name } of program.inputs)
  inputs[name] = new Tensor(feeds[name].dtype, feeds[name].data, feeds[name].shape);
for (const { name } of program.parameters)
  inputs[name] = new Tensor("float32", values[name], shapes.get(name)!);

const runs = await trace(program.bytes, inputs, {
  threads: Number(flags.threads),
  runs: Number(flags.steps),
  keep: flags.keep,
});
const nodes = leastTimes(runs);
const ms = (microseconds: number) => (microseconds / 1000).toFixed(0);
console.log(
  `${flags.preset}, ${flags.threads} threads: ${nodes.length} nodes, ${ms(totalTime(nodes))} ms ` +
    `(whole steps ${runs.map((run) => ms(totalTime(run))).join(" ")}), load ${loadavg()[0].toFixed(1)}\n`,
);
table("operator", ({ operator }) => operator);
table("part", ({ name }) => partOf(name));
table("part and operator", ({ name, operator }) => `${partOf(name)}  ${operator}`);
table("operator on shapes", ({ name, operator, shapes }) => `${operator} ${shapes}  ${partOf(name)}`);

/** The scope a node was made in, all layers together. */
function partOf(name: string): string {
  const scope = name.split("/").slice(0, -1).join("/");
  return scope.replaceAll(/layers\.\d+/g, "layers") || "(no scope)";
}

/** Prints the groups that take most time. */
function table(title: string, keyOf: (node: NodeTime) => string): void {
  const groups = new Map<string, { count: number; microseconds: number; flops: number }>();
  for (const node of nodes) {
    const key = keyOf(node);
    const { count, microseconds, flops } = groups.get(key) ?? { count: 0, microseconds: 0, flops: 0 };
    groups.set(key, {
      count: count + 1,
      microseconds: microseconds + node.microseconds,
      flops: flops + node.flops,
    });
  }
  console.log(`      ms  share  count  GFLOP/s  ${title}`);
  const sorted = [...groups].sort((a, b) => b[1].microseconds - a[1].microseconds);
  for (const [key, { count, microseconds, flops }] of sorted.slice(0, Number(flags.rows))) {
    const columns = [
      (microseconds / 1000).toFixed(1).padStart(8),
      `${((100 * microseconds) / totalTime(nodes)).toFixed(1)}%`.padStart(6),
      String(count).padStart(6),
      (flops > 0 ? (flops / microseconds / 1000).toFixed(0) : "").padStart(8),
    ];
    console.log(`${columns.join(" ")}  ${key}`);
  }
  console.log();
}
