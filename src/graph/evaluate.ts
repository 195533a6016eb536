/**
 * @file The slow reference: evaluates a module in float64, one obvious loop per operator.
 *
 * Composites run their slow form (the oracle) unless the module holds gradients or `lowered` is asked for: then everything is lowered
 * first, which checks the very graph that is written, in double precision.
 */
import { lower } from "./lower.js";
import { type GraphModule, rootsOf } from "./module.js";
import { NDArray } from "./ndarray.js";
import { GRADIENT_PREFIX } from "./onnx.js";
import type { Target } from "./target.js";
import type { ConstantAttributes, LeafAttributes, Node, Tensor } from "./tensor.js";
import { fitsShape, showShape, type TensorData } from "./types.js";
import { topologicalOrder } from "./walk.js";

export type Values = Readonly<Record<string, TensorData | NDArray>>;

export interface EvaluateOptions {
  /** Evaluate the lowered form of composites instead of their oracle. Default: only when the module has gradients. */
  readonly lowered?: boolean;
  /** What it is lowered for. Default: the processor. */
  readonly target?: Target;
}

/** Values of all outputs and gradients (the latter under GRADIENT_PREFIX + parameter name). */
export function evaluate(
  module: GraphModule,
  feeds: Values,
  parameters: Values = {},
  options: EvaluateOptions = {},
): Record<string, NDArray> {
  const names = [
    ...Object.keys(module.outputs),
    ...Object.keys(module.gradients ?? {}).map((name) => GRADIENT_PREFIX + name),
  ];
  const hasAdjoint = () => topologicalOrder(rootsOf(module)).some((n) => n.operator.kind === "adjoint");
  const roots = (options.lowered ?? hasAdjoint()) ? lower(rootsOf(module), options.target) : rootsOf(module);
  const leaf = ({ operator, attributes }: Node): NDArray => {
    const { name, dtype, shape } = attributes as LeafAttributes;
    const given = (operator.kind === "input" ? feeds : parameters)[name];
    if (!given) throw new Error(`evaluate: expected a value for ${operator.kind} "${name}", got none`);
    if (given.dtype !== dtype || !fitsShape(shape, given.shape))
      throw new Error(
        `evaluate: expected ${dtype}${showShape(shape)} for ${operator.kind} "${name}", got ${given.dtype}${showShape(given.shape)}`,
      );
    return given instanceof NDArray ? given : NDArray.from(given);
  };
  const results = evaluateTensors(roots, new Map(), leaf);
  return Object.fromEntries(results.map((value, i) => [names[i], value]));
}

/** Values of `roots`, given those of the tensors in `known`. `leaf` finds inputs and parameters that are not among them. */
export function evaluateTensors(
  roots: readonly Tensor[],
  known: ReadonlyMap<Tensor, NDArray>,
  leaf: (node: Node) => NDArray,
): NDArray[] {
  const values = new Map(known);
  for (const node of topologicalOrder(roots, ({ outputs }) => outputs.some((out) => known.has(out)))) {
    const { operator, attributes } = node;
    let results: readonly NDArray[];
    switch (operator.kind) {
      case "input":
      case "parameter":
        results = [leaf(node)];
        break;
      case "constant":
        results = [NDArray.from(attributes as ConstantAttributes)];
        break;
      case "adjoint":
        throw new Error(
          `evaluate: ${operator.name} needs the lowered form; leave the option "lowered" unset`,
        );
      default:
        results = operator.evaluate(
          node.inputs.map((x) => values.get(x)!),
          attributes,
        );
    }
    for (const [i, out] of node.outputs.entries()) values.set(out, results[i]);
  }
  return roots.map((root) => values.get(root)!);
}
