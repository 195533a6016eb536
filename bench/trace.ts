/** @file What every node of a program costs, by ONNX Runtime's profiler. */
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InferenceSession, type Tensor } from "onnxruntime-node";

/** One executed node: what it is, on what shapes, for how long. */
export interface NodeTime {
  /** With the scopes it was made in: "backward/layers.0/attention/matmul_42". */
  readonly name: string;
  /** ONNX operator. */
  readonly operator: string;
  readonly shapes: string;
  readonly microseconds: number;
  /** Floating-point operations of a matrix product; 0 otherwise. */
  readonly flops: number;
}

export interface TraceOptions {
  readonly threads: number;
  readonly runs: number;
  /** Where to keep the profile, for chrome://tracing. Default: nowhere. */
  readonly keep?: string;
}

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

/** Runs an ONNX model under the profiler, once more than `runs`: the nodes of every run but the first, in the order they ran. */
export async function trace(
  bytes: Uint8Array,
  inputs: Readonly<Record<string, Tensor>>,
  { threads, runs, keep }: TraceOptions,
): Promise<NodeTime[][]> {
  const folder = mkdtempSync(join(tmpdir(), "trace-"));
  try {
    const session = await InferenceSession.create(bytes, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: "all",
      enableMemPattern: false,
      logSeverityLevel: 3,
      enableProfiling: true,
      profileFilePrefix: join(folder, "trace"),
    });
    for (let run = 0; run <= runs; run++) await session.run(inputs);
    session.endProfiling();
    await session.release();
    const file = join(folder, readdirSync(folder)[0]);
    if (keep) copyFileSync(file, keep);
    return splitRuns(JSON.parse(readFileSync(file, "utf8")) as TraceEvent[]).slice(1);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Every node with its least time over the runs, so that what else the machine does is left out as far as can be. */
export const leastTimes = (runs: readonly (readonly NodeTime[])[]): NodeTime[] =>
  runs[0].map((node, i) => ({ ...node, microseconds: Math.min(...runs.map((run) => run[i].microseconds)) }));

export const totalTime = (nodes: readonly NodeTime[]): number =>
  nodes.reduce((sum, { microseconds }) => sum + microseconds, 0);

/** A "model_run" event spans the nodes of one run. */
function splitRuns(events: readonly TraceEvent[]): NodeTime[][] {
  const nodes = events.filter(({ cat, name }) => cat === "Node" && name.endsWith("_kernel_time"));
  return events
    .filter(({ cat, name }) => cat === "Session" && name === "model_run")
    .map(({ ts, dur }) => nodes.filter((node) => node.ts >= ts && node.ts < ts + dur).map(nodeTime));
}

const products = new Set(["MatMul", "FusedMatMul", "Gemm"]);

function nodeTime({ name, dur, args }: TraceEvent): NodeTime {
  const [inputs, outputs] = [args.input_type_shape, args.output_type_shape].map((types) =>
    (types ?? []).map((type) => Object.values(type)[0]),
  );
  const list = (shapes: readonly (readonly number[])[]) => shapes.map((shape) => `[${shape}]`).join(" ");
  const operator = args.op_name ?? "?";
  return {
    name: name.replace(/_kernel_time$/, ""),
    operator,
    shapes: `${list(inputs)} -> ${list(outputs)}`,
    microseconds: dur,
    flops: products.has(operator) ? productFlops(inputs[0], outputs[0]) : 0,
  };
}

/** 2 m n k a matrix: a holds m k numbers, the result m n; m is the result's last dimension but one. */
function productFlops(a: readonly number[], out: readonly number[]): number {
  const size = (shape: readonly number[]) => shape.reduce((x, y) => x * y, 1);
  return (2 * size(out) * size(a)) / (size(out.slice(0, -2)) * out.at(-2)!);
}
