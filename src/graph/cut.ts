/**
 * @file Cutting a module into programs that run one after the other, so that what the first have computed can be used while the later
 * ones run: with several processes, gradients that are summed over them during the rest of the backward pass.
 *
 * A program computes what its own results need and no program before it has computed. What it takes from those before crosses as
 * held tensors (outputs of one program, inputs of the next), which are copied once: few and small where layers are checkpointed, all
 * activations otherwise. Three things are computed again instead: what depends on constants alone, what has a shape that is known at
 * run time only, and reshapes, which cost nothing. So that little is, whatever can be computed at once from a tensor of unknown
 * shape is, also when only a later program wants it.
 */
import { lower } from "./lower.js";
import { type GraphModule, rootsOf } from "./module.js";
import { cpuTarget, type Target } from "./target.js";
import { apply, atScope, input, type Node, type Tensor } from "./tensor.js";
import { topologicalOrder } from "./walk.js";

/**
 * @param pieces names of the gradients that each program finishes; every gradient of the module once. The first has all outputs too.
 * @param prefix of the names of tensors that cross, such as "held:"
 * @param target what the programs are for
 * @returns as many modules as pieces; run in order they compute what `module` does
 */
export function cutModule(
  module: GraphModule,
  pieces: readonly (readonly string[])[],
  prefix: string,
  target: Target = cpuTarget,
): GraphModule[] {
  const names = Object.keys(module.gradients ?? {});
  const listed = pieces.flat();
  if (listed.length !== names.length || names.some((name) => !listed.includes(name)))
    throw new Error(
      `cut: expected every gradient of "${module.name}" in one piece, got ${listed.join(", ")}`,
    );
  const roots = lower(rootsOf(module), target);
  const outputs = Object.keys(module.outputs);
  const gradientOf = new Map(names.map((name, i) => [name, roots[outputs.length + i]]));
  const cut = new Cut(roots, prefix);
  const made = pieces.map((own, k) => {
    const first = k === 0 ? roots.slice(0, outputs.length) : [];
    return cut.next([...first, ...own.map((name) => gradientOf.get(name)!)]);
  });
  return pieces.map((own, k) => {
    const count = k === 0 ? outputs.length : 0;
    return {
      name: `${module.name}, piece ${k + 1} of ${pieces.length}`,
      outputs: {
        ...Object.fromEntries(made[k].slice(0, count).map((tensor, i) => [outputs[i], tensor])),
        ...cut.crossing(k),
      },
      gradients: Object.fromEntries(own.map((name, i) => [name, made[k][count + i]])),
    };
  });
}

const hasUnknownShape = ({ outputs }: Node): boolean => outputs.some(({ shape }) => shape.includes(null));

class Cut {
  private readonly order: readonly Node[];
  /** The program that first computes a node. */
  private readonly piece = new Map<Node, number>();
  /** What stands for a lowered tensor in each program. */
  private readonly own: Map<Tensor, Tensor>[] = [];
  /** Tensors that cross, and the inputs they become. */
  private readonly kept = new Map<Tensor, Tensor>();
  /** Nodes whose values depend on what is fed. */
  private readonly fed = new Set<Node>();

  constructor(
    roots: readonly Tensor[],
    private readonly prefix: string,
  ) {
    this.order = topologicalOrder(roots);
    for (const node of this.order) {
      const { kind } = node.operator;
      if (kind === "input" || kind === "parameter" || node.inputs.some((x) => this.fed.has(x.node)))
        this.fed.add(node);
    }
  }

  /** The roots as the next program computes them. */
  next(roots: readonly Tensor[]): Tensor[] {
    const number = this.own.length;
    const own = new Map<Tensor, Tensor>();
    this.own.push(own);
    const before = (node: Node) => this.crosses(node, number);
    const here = (x: Tensor): Tensor => (before(x.node) ? this.keep(x) : (own.get(x) ?? x));
    const compute = (node: Node) => {
      const inputs = node.inputs.map(here);
      const results = inputs.every((x, i) => x === node.inputs[i])
        ? node.outputs
        : atScope(node.scope, () => apply(node.operator, inputs, node.attributes));
      for (const [i, out] of node.outputs.entries()) own.set(out, results[i]);
      if (!this.piece.has(node)) this.piece.set(node, number);
    };
    topologicalOrder(roots, before).forEach(compute);
    for (const node of this.order) if (this.isUrgent(node, number)) compute(node);
    return roots.map(here);
  }

  /** Whether a node that no program has computed yet can be, and reads what program `number` has and cannot hand on. */
  private isUrgent(node: Node, number: number): boolean {
    const made = (x: Tensor) => this.piece.get(x.node);
    const reads = (x: Tensor) => made(x) === number && this.fed.has(x.node) && hasUnknownShape(x.node);
    const isThere = (x: Tensor) => x.node.operator.kind !== "primitive" || made(x) !== undefined;
    return !this.piece.has(node) && node.inputs.some(reads) && node.inputs.every(isThere);
  }

  /** What program `number` leaves for later ones. */
  crossing(number: number): Record<string, Tensor> {
    const leaves = [...this.kept].filter(([x]) => this.piece.get(x.node) === number);
    return Object.fromEntries(
      leaves.map(([x, { node }]) => [(node.attributes as { name: string }).name, this.own[number].get(x)!]),
    );
  }

  private crosses(node: Node, number: number): boolean {
    const made = this.piece.get(node);
    return (
      made !== undefined &&
      made < number &&
      node.operator.kind === "primitive" &&
      node.operator.name !== "reshape" &&
      this.fed.has(node) &&
      !hasUnknownShape(node)
    );
  }

  private keep(x: Tensor): Tensor {
    const known = this.kept.get(x);
    if (known) return known;
    const made = input(`${this.prefix}${this.kept.size}`, x.dtype, x.shape);
    this.kept.set(x, made);
    return made;
  }
}
