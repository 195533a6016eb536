/**
 * @file Lowering: composites and their adjoints become primitives. What no output needs is never visited, so dead code falls away here.
 */
import { vectorJacobianProduct } from "./gradient.js";
import type { MaybeTensor } from "./operator.js";
import { zeros } from "./operators/shape.js";
import { cpuTarget, type Target } from "./target.js";
import { apply, atScope, type Node, type Tensor } from "./tensor.js";
import { topologicalOrder } from "./walk.js";

/** The same values computed by leaves and primitives that the target has. */
export function lower(roots: readonly Tensor[], target: Target = cpuTarget): Tensor[] {
  return new Lowering(target).tensors(roots);
}

class Lowering {
  private readonly lowered = new Map<Tensor, Tensor>();
  private readonly saved = new Map<Node, unknown>();

  constructor(private readonly target: Target) {}

  tensors(roots: readonly Tensor[]): Tensor[] {
    for (const node of topologicalOrder(roots, (n) => this.lowered.has(n.outputs[0]))) this.node(node);
    return roots.map((t) => this.of(t));
  }

  private of(tensor: Tensor): Tensor {
    const found = this.lowered.get(tensor);
    if (!found) throw new Error(`lower: ${tensor.node.operator.name} was not visited before its use`);
    return found;
  }

  private node(node: Node): void {
    const results = atScope(node.scope, () => this.rewrite(node));
    for (const [i, out] of node.outputs.entries()) this.lowered.set(out, results[i]);
  }

  private rewrite(node: Node): readonly Tensor[] {
    const { operator } = node;
    const inputs = node.inputs.map((x) => this.of(x));
    switch (operator.kind) {
      case "composite": {
        const { outputs, saved } = operator.lower(inputs, node.attributes, this.target);
        this.saved.set(node, saved);
        return this.nested(inputs, outputs);
      }
      case "adjoint": {
        const { forward, present, needed } = operator;
        if (forward.operator.kind !== "composite")
          throw new Error("lower: adjoint of a node that is no composite");
        const context = {
          inputs: forward.inputs.map((x) => this.of(x)),
          outputs: forward.outputs.map((x) => this.of(x)),
          attributes: forward.attributes,
          needed,
          saved: this.saved.get(forward),
        };
        let next = 0;
        const gradients: MaybeTensor[] = present.map((p) => (p ? inputs[next++] : null));
        const results = forward.operator.adjoint
          ? forward.operator.adjoint(gradients, context)
          : vectorJacobianProduct(context.outputs, gradients, context.inputs).map(
              (g, i) => g ?? (needed[i] ? zeros(context.inputs[i].staticShape) : null),
            );
        const wanted = results.filter((_, i) => needed[i]);
        const missing = wanted.indexOf(null);
        if (missing >= 0)
          throw new Error(`lower: the adjoint of ${forward.operator.name} left a needed gradient out`);
        return this.nested([...inputs, ...context.inputs], wanted as Tensor[]);
      }
      default: {
        const other =
          operator.kind === "primitive" && operator.legalize?.(inputs, node.attributes, this.target);
        if (other) return this.nested(inputs, other);
        return inputs.every((x, i) => x === node.inputs[i])
          ? node.outputs
          : apply(operator, inputs, node.attributes);
      }
    }
  }

  /** A lowered form may itself hold composites: lower those too. `inputs` are primitives already. */
  private nested(inputs: readonly Tensor[], outputs: readonly Tensor[]): Tensor[] {
    for (const x of inputs) this.lowered.set(x, x);
    return this.tensors(outputs);
  }
}
