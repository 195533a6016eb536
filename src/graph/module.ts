/** @file What a device compiles: named outputs, and gradients that go to the parameter store instead of the caller. */
import type { LeafAttributes, Tensor } from "./tensor.js";
import { topologicalOrder } from "./walk.js";

export interface GraphModule {
  readonly name: string;
  /** Fetched by the caller, by name. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Parameter name -> its gradient. */
  readonly gradients?: Readonly<Record<string, Tensor>>;
}

/** All tensors a module must compute. */
export const rootsOf = (module: GraphModule): Tensor[] => [
  ...Object.values(module.outputs),
  ...Object.values(module.gradients ?? {}),
];

/** The inputs or parameters that `roots` read, by name; throws when two different leaves share one name. */
export function leavesOf(roots: readonly Tensor[], kind: "input" | "parameter"): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  for (const node of topologicalOrder(roots)) {
    if (node.operator.kind !== kind) continue;
    const { name } = node.attributes as LeafAttributes;
    if (found.has(name))
      throw new Error(`graph: two different ${kind}s are named "${name}"; share the tensor instead`);
    found.set(name, node.outputs[0]);
  }
  return found;
}
