/**
 * @file The slow reference: evaluates a module in float64, one obvious loop per operator.
 *
 * Composites run their slow form (the oracle) unless the module holds gradients or `lowered` is asked for: then everything is lowered
 * first, which checks the very graph that is written, in double precision.
 */
import { lower } from "./lower.js";
import { type GraphModule, rootsOf } from "./module.js";
import { NDArray } from "./ndarray.js";
import type { ConstantAttributes, LeafAttributes, Tensor } from "./tensor.js";
import type { TensorData } from "./types.js";
import { topologicalOrder } from "./walk.js";

export type Values = Readonly<Record<string, TensorData | NDArray>>;

export interface EvaluateOptions {
  /** Evaluate the lowered form of composites instead of their oracle. Default: only when the module has gradients. */
  readonly lowered?: boolean;
}

/** Values of all outputs and gradients (the latter under "gradient:" + parameter name). */
export function evaluate(
  module: GraphModule,
  feeds: Values,
  parameters: Values = {},
  options: EvaluateOptions = {},
): Record<string, NDArray> {
  const names = [
    ...Object.keys(module.outputs),
    ...Object.keys(module.gradients ?? {}).map((name) => `gradient:${name}`),
  ];
  const hasAdjoint = () => topologicalOrder(rootsOf(module)).some((n) => n.operator.kind === "adjoint");
  const roots = (options.lowered ?? hasAdjoint()) ? lower(rootsOf(module)) : rootsOf(module);
  const values = new Map<Tensor, NDArray>();
  for (const node of topologicalOrder(roots)) {
    const { operator, attributes } = node;
    let results: readonly NDArray[];
    switch (operator.kind) {
      case "input":
      case "parameter": {
        const { name, dtype, shape } = attributes as LeafAttributes;
        const given = (operator.kind === "input" ? feeds : parameters)[name];
        if (!given) throw new Error(`evaluate: expected a value for ${operator.kind} "${name}", got none`);
        if (given.dtype !== dtype || shape.some((d, i) => d !== null && d !== given.shape[i]))
          throw new Error(
            `evaluate: ${operator.kind} "${name}" expects ${dtype}[${shape}], got ${given.dtype}[${given.shape}]`,
          );
        results = [given instanceof NDArray ? given : NDArray.from(given)];
        break;
      }
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
  return Object.fromEntries(roots.map((root, i) => [names[i], values.get(root)!]));
}
