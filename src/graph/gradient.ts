/**
 * @file Reverse-mode differentiation: gradients are graphs like any other.
 *
 * Walks from the loss to the parameters, asks every operator for its vector-Jacobian product and sums what arrives over several paths.
 * A composite answers with one adjoint node that is resolved when the graph is lowered, where its forward form's intermediates exist.
 */
import type { AdjointOperator, MaybeTensor } from "./operator.js";
import { sumOf } from "./operators/elementwise.js";
import { zeros } from "./operators/shape.js";
import { apply, atScope, constant, type Node, type Tensor } from "./tensor.js";
import { showShape } from "./types.js";
import { topologicalOrder } from "./walk.js";

/**
 * d loss / d w for each w in `wrt`, along every path, through others of `wrt` too. loss is a float32 scalar (shape []); a tensor the loss
 * does not depend on gets zeros.
 */
export function gradient(loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  if (loss.shape.length !== 0 || loss.dtype !== "float32")
    throw new Error(`gradient: expected a float32 scalar loss, got ${loss.dtype}${showShape(loss.shape)}`);
  const gradients = backwards([loss], [constant(1)], wrt, new Set());
  return gradients.map((g, i) => g ?? zeros(wrt[i].staticShape));
}

/**
 * Gradients of sum_i <seeds_i, outputs_i> with respect to `wrt`, each taken as a variable of its own: no path leads through one of them,
 * as in the adjoint of a part of a graph, whose inputs these are. null where there is no path; of a tensor that is named twice the
 * first has the gradient.
 */
export function vectorJacobianProduct(
  outputs: readonly Tensor[],
  seeds: readonly MaybeTensor[],
  wrt: readonly Tensor[],
): MaybeTensor[] {
  const gradients = backwards(outputs, seeds, wrt, new Set(wrt));
  return gradients.map((g, i) => (wrt.indexOf(wrt[i]) === i ? g : null));
}

/** Walks from `outputs` to `wrt`, and from no tensor of `ends` any further. */
function backwards(
  outputs: readonly Tensor[],
  seeds: readonly MaybeTensor[],
  wrt: readonly Tensor[],
  ends: ReadonlySet<Tensor>,
): MaybeTensor[] {
  const order = topologicalOrder(outputs, (node) => node.outputs.every((out) => ends.has(out)));
  const active = new Set<Tensor>(wrt);
  for (const node of order)
    if (node.inputs.some((x) => active.has(x)))
      for (const out of node.outputs) if (out.dtype === "float32") active.add(out);

  const arrived = new Map<Tensor, Tensor[]>();
  const send = (to: Tensor, g: MaybeTensor) => {
    if (!g) return;
    const list = arrived.get(to);
    if (list) list.push(g);
    else arrived.set(to, [g]);
  };
  const total = (x: Tensor): MaybeTensor => {
    const list = arrived.get(x);
    return list ? sumOf(list) : null;
  };

  for (const [i, out] of outputs.entries()) send(out, seeds[i]);
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i];
    const needed = node.inputs.map((x) => active.has(x));
    if (!needed.includes(true)) continue;
    const incoming = atScope(`backward/${node.scope}`, () =>
      node.outputs.map((out) => (ends.has(out) ? null : total(out))),
    );
    if (incoming.every((g) => g === null)) continue;
    const outgoing = atScope(`backward/${node.scope}`, () => adjointOf(node, incoming, needed));
    for (const [k, x] of node.inputs.entries()) if (needed[k]) send(x, outgoing[k]);
  }
  return wrt.map(total);
}

function adjointOf(
  node: Node,
  gradients: readonly MaybeTensor[],
  needed: readonly boolean[],
): readonly MaybeTensor[] {
  const { operator, inputs, outputs, attributes } = node;
  switch (operator.kind) {
    case "primitive":
      if (!operator.adjoint)
        throw new Error(
          `gradient: ${operator.name} (${node.scope}) has no adjoint; keep it off the path from parameters to the loss`,
        );
      return operator.adjoint(gradients, { inputs, outputs, attributes, needed });
    case "composite": {
      const adjoint: AdjointOperator = {
        kind: "adjoint",
        name: `${operator.name}.adjoint`,
        forward: node,
        present: gradients.map((g) => g !== null),
        needed,
        infer: () => inputs.filter((_, i) => needed[i]).map(({ dtype, shape }) => ({ dtype, shape })),
      };
      const found = gradients.filter((g): g is Tensor => g !== null);
      const results = apply(adjoint, found, {});
      let next = 0;
      return needed.map((n) => (n ? results[next++] : null));
    }
    default:
      throw new Error(`gradient: cannot differentiate ${operator.name}`);
  }
}
