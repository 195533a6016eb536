/** @file What every node of a program costs: ONNX Runtime's own profile, read and summed. */

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

interface TraceEvent {
  /** "Api": a program on the graphics card; its name begins with that of its node and "&". */
  readonly cat: "Session" | "Node" | "Api";
  readonly name: string;
  readonly dur: number;
  readonly ts: number;
  readonly args: {
    readonly op_name?: string;
    readonly provider?: string;
    readonly input_type_shape?: readonly Readonly<Record<string, readonly number[]>>[];
    readonly output_type_shape?: readonly Readonly<Record<string, readonly number[]>>[];
  };
}

/**
 * The nodes of each run in a profile that ONNX Runtime wrote (a chrome://tracing file), in the order they ran.
 *
 * On a graphics card a node's own time is that of handing it over. There it counts what the card computed for it, or the processor in its
 * place; copies between them, and waiting, are left out.
 */
export function readProfile(json: string): NodeTime[][] {
  const events = JSON.parse(json) as TraceEvent[];
  const nodes = events.filter(({ cat, name }) => cat === "Node" && name.endsWith("_kernel_time"));
  const programs = events.filter(({ cat }) => cat === "Api");
  return events
    .filter(({ cat, name }) => cat === "Session" && name === "model_run")
    .map((run) => {
      const within = ({ ts }: TraceEvent) => ts >= run.ts && ts < run.ts + run.dur;
      const own = nodes.filter(within).map((event) => ({ event, time: nodeTime(event) }));
      if (programs.length === 0) return own.map(({ time }) => time);
      const onCard = new Map<string, number>();
      for (const { name, dur } of programs.filter(within)) {
        const node = name.split("&")[0];
        onCard.set(node, (onCard.get(node) ?? 0) + dur);
      }
      return own.map(({ event, time }) => {
        const instead = event.args.provider === "CPUExecutionProvider" ? time.microseconds : 0;
        return { ...time, microseconds: onCard.get(time.name) ?? instead };
      });
    });
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
  const rows = size(out.slice(0, -2)) * out.at(-2)!;
  return rows === 0 ? 0 : (2 * size(out) * size(a)) / rows;
}

/** Every node with its least time over the runs, so that what else the machine does is left out as far as can be. */
export const leastTimes = (runs: readonly (readonly NodeTime[])[]): NodeTime[] =>
  runs[0].map((node, i) => ({ ...node, microseconds: Math.min(...runs.map((run) => run[i].microseconds)) }));

export const totalTime = (nodes: readonly NodeTime[]): number =>
  nodes.reduce((sum, { microseconds }) => sum + microseconds, 0);

/** Nodes that share a name, together. */
export interface NodeGroup {
  readonly name: string;
  readonly count: number;
  readonly microseconds: number;
  /** Of these, in matrix products. */
  readonly productMicroseconds: number;
  readonly flops: number;
}

/** The groups that `keyOf` makes of the nodes, those that take most time first. */
export function groupTimes(nodes: readonly NodeTime[], keyOf: (node: NodeTime) => string): NodeGroup[] {
  const groups = new Map<string, NodeGroup>();
  for (const node of nodes) {
    const name = keyOf(node);
    const old = groups.get(name) ?? { name, count: 0, microseconds: 0, productMicroseconds: 0, flops: 0 };
    groups.set(name, {
      name,
      count: old.count + 1,
      microseconds: old.microseconds + node.microseconds,
      productMicroseconds: old.productMicroseconds + (node.flops > 0 ? node.microseconds : 0),
      flops: old.flops + node.flops,
    });
  }
  return [...groups.values()].sort((a, b) => b.microseconds - a.microseconds);
}

/** "forward", "backward" or "recompute". */
export const phaseOf = ({ name }: NodeTime): string => /^(backward|recompute)\//.exec(name)?.[1] ?? "forward";

/** The scope a node was made in, all layers and phases together; what ONNX Runtime added itself has none: "other". */
export function partOf({ name }: NodeTime): string {
  const scopes = name
    .replace(/^backward\//, "")
    .replace(/^recompute\//, "")
    .split("/");
  const end = scopes.findIndex((scope) => /_\d+(\.|$)/.test(scope)); // "matmul_42/MatMulScaleFusion"
  const part = scopes.slice(0, Math.max(0, end)).filter((scope) => scope !== "");
  return part.join("/").replaceAll(/layers\.\d+/g, "layers") || "other";
}
