/**
 * @file Where the time of a training step goes: ONNX Runtime's own profile of `bench-small`, summed by operator and by part of the model.
 *
 *   npx tsx bench/profile.ts [--preset masked] [--steps 6] [--threads N] [--scopes 30] [--nodes 20] [--keep FILE]
 *
 * Node names carry the scope they were made in ("backward/layers.0/attention/..."). Every node counts with its least time over the
 * steps, so that what else the machine does is left out as far as can be. --keep saves the profile for chrome://tracing.
 */
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { writeOnnx } from "../src/graph/index.js";
import { referenceStep } from "./reference-step.js";

const { values: flags } = parseArgs({
  options: {
    preset: { type: "string", default: "masked" },
    documents: { type: "string", default: "1" },
    steps: { type: "string", default: "6" },
    threads: { type: "string", default: String(availableParallelism()) },
    scopes: { type: "string", default: "30" },
    nodes: { type: "string", default: "20" },
    keep: { type: "string" },
  },
});

interface TraceEvent {
  readonly cat: "Session" | "Node";
  readonly name: string;
  readonly dur: number;
  readonly ts: number;
  readonly args: {
    readonly op_name?: string;
    readonly input_type_shape?: readonly Readonly<Record<string, readonly number[]>>[];
    readonly output_type_shape?: readonly Readonly<Record<string, readonly number[]>>[];
  };
}

/** One executed node: microseconds, what it is, where it stands, on what shapes. */
interface NodeTime {
  readonly name: string;
  readonly operator: string;
  readonly scope: string;
  readonly shapes: string;
  readonly microseconds: number;
}

const { definitions, values, module, feeds } = referenceStep({
  preset: flags.preset,
  documents: Number(flags.documents),
});
const folder = mkdtempSync(join(tmpdir(), "profile-"));
try {
  const steps = await traceSteps();
  const best = steps[0].map((node, i) => ({
    ...node,
    microseconds: Math.min(...steps.map((step) => step[i].microseconds)),
  }));
  const sum = total(best);
  console.log(
    `${flags.preset}: ${best.length} nodes, ${(sum / 1000).toFixed(0)} ms in kernels ` +
      `(all steps: ${steps.map((s) => (total(s) / 1000).toFixed(0)).join(" ")}), load ${loadavg()[0].toFixed(1)}\n`,
  );
  table("operator", best, ({ operator }) => operator, 40);
  table("part", best, ({ scope }) => scope, Number(flags.scopes));
  table("part and operator", best, ({ scope, operator }) => `${scope} ${operator}`, Number(flags.scopes));
  table("node", best, ({ name, operator, shapes }) => `${operator} ${name} ${shapes}`, Number(flags.nodes));
} finally {
  rmSync(folder, { recursive: true });
}

/** Runs the steps under the profiler: a list of nodes for each. */
async function traceSteps(): Promise<NodeTime[][]> {
  const program = writeOnnx(module);
  const session = await InferenceSession.create(program.bytes, {
    intraOpNumThreads: Number(flags.threads),
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
    enableMemPattern: false,
    logSeverityLevel: 3,
    enableProfiling: true,
    profileFilePrefix: join(folder, "trace"),
  });
  const shapes = new Map(definitions.map(({ name, shape }) => [name, shape]));
  const inputs: Record<string, Tensor> = {};
  for (const { name } of program.inputs)
    inputs[name] = new Tensor(feeds[name].dtype, feeds[name].data, feeds[name].shape);
  for (const { name } of program.parameters)
    inputs[name] = new Tensor("float32", values[name], shapes.get(name)!);
  const times: number[] = [];
  for (let step = 0; step <= Number(flags.steps); step++) {
    const start = performance.now();
    await session.run(inputs);
    times.push(performance.now() - start);
  }
  console.log(`wall clock: ${times.map((t) => t.toFixed(0)).join(" ")} ms`);
  session.endProfiling();
  const file = join(folder, readdirSync(folder)[0]);
  if (flags.keep) copyFileSync(file, flags.keep);
  await session.release();
  return splitSteps(JSON.parse(readFileSync(file, "utf8")) as TraceEvent[]);
}

/** A "model_run" event spans the nodes of one step. */
function splitSteps(events: readonly TraceEvent[]): NodeTime[][] {
  const nodes = events.filter(({ cat, name }) => cat === "Node" && name.endsWith("_kernel_time"));
  return events
    .filter(({ cat, name }) => cat === "Session" && name === "model_run")
    .map(({ ts, dur }) => nodes.filter((node) => node.ts >= ts && node.ts < ts + dur).map(nodeTime));
}

function nodeTime({ name, dur, args }: TraceEvent): NodeTime {
  const own = name.replace(/_kernel_time$/, "");
  const list = (types: TraceEvent["args"]["input_type_shape"]) =>
    (types ?? []).map((type) => `[${Object.values(type)[0].join(",")}]`).join(" ");
  return {
    name: own,
    operator: args.op_name ?? "?",
    scope: partOf(own),
    shapes: `${list(args.input_type_shape)} -> ${list(args.output_type_shape)}`,
    microseconds: dur,
  };
}

/** The scope without the node itself; all layers, experts and chunks together. */
function partOf(name: string): string {
  const scope = name.split("/").slice(0, -1).join("/");
  return scope.replaceAll(/layers\.\d+/g, "layers") || "(no scope)";
}

function table(
  title: string,
  nodes: readonly NodeTime[],
  keyOf: (node: NodeTime) => string,
  rows: number,
): void {
  const groups = new Map<string, { count: number; microseconds: number }>();
  for (const node of nodes) {
    const group = groups.get(keyOf(node)) ?? { count: 0, microseconds: 0 };
    group.count++;
    group.microseconds += node.microseconds;
    groups.set(keyOf(node), group);
  }
  const sum = total(nodes);
  console.log(`      ms  share  count  ${title}`);
  for (const [key, { count, microseconds }] of [...groups]
    .sort((a, b) => b[1].microseconds - a[1].microseconds)
    .slice(0, rows))
    console.log(
      `${(microseconds / 1000).toFixed(1).padStart(8)} ${((100 * microseconds) / sum).toFixed(1).padStart(5)}% ${String(count).padStart(6)}  ${key}`,
    );
  console.log();
}

function total(nodes: readonly NodeTime[]): number {
  return nodes.reduce((sum, { microseconds }) => sum + microseconds, 0);
}
