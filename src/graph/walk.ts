/** @file Order of evaluation: every node after the nodes it depends on. */
import type { Node, Tensor } from "./tensor.js";

const nowhere = (): boolean => false;

/** Nodes a node needs: the makers of its inputs and, for an adjoint, the forward node whose intermediates it reads. */
export function* dependencies(node: Node): Generator<Node> {
  for (const x of node.inputs) yield x.node;
  if (node.operator.kind === "adjoint") yield node.operator.forward;
}

/**
 * All nodes that `roots` depend on, inputs first. Nodes for which `stop` holds are left out, and what lies behind them.
 * Iterative: a deep model must not exhaust the call stack.
 */
export function topologicalOrder(roots: readonly Tensor[], stop: (node: Node) => boolean = nowhere): Node[] {
  const order: Node[] = [];
  const done = new Set<Node>();
  const stack: { node: Node; rest: Iterator<Node> }[] = [];
  const enter = (node: Node) => {
    if (done.has(node) || stop(node)) return;
    done.add(node);
    stack.push({ node, rest: dependencies(node) });
  };
  for (const root of roots) {
    enter(root.node);
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      const next = top.rest.next();
      if (next.done) {
        order.push(top.node);
        stack.pop();
      } else enter(next.value);
    }
  }
  return order;
}
