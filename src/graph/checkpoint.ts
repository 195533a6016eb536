/**
 * @file Activation checkpointing (Chen et al., arXiv 1604.06174): part of a graph keeps its inputs only, and is computed a second time
 * when its gradient is wanted.
 *
 *     y = checkpoint([x], ([x]) => [layer(x)])
 *
 * The part is one composite. Its adjoint builds the part again over x' = `after(x, gradients that come in)` and differentiates that
 * copy: ONNX Runtime can neither merge it with the original nor run it before the backward pass arrives there. The same kernels see the
 * same numbers, so gradients are equal to the bit.
 */
import { evaluateTensors } from "./evaluate.js";
import { vectorJacobianProduct } from "./gradient.js";
import { type AdjointOperator, defineComposite } from "./operator.js";
import { after } from "./operators/after.js";
import { zeros } from "./operators/shape.js";
import { apply, atScope, input, type LeafAttributes, type Node, type Tensor } from "./tensor.js";
import { topologicalOrder } from "./walk.js";

/** What was built between a checkpoint's inputs and its outputs. */
interface Body {
  /** The last node made before the part: nodes with a larger id, leaves apart, belong to it. */
  readonly lastOutside: number;
  /** Stand for the node's inputs: first those that were named, then what else the part reads from outside. */
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** How many inputs were named: the copy is built over these, delayed. What depends on the others alone is kept, not copied. */
  readonly named: number;
}

const isLeaf = ({ operator }: Node): boolean => operator.kind === "input" || operator.kind === "parameter";

/** The outputs of the part over other inputs. Nodes that would not change are shared. */
function rebuild(
  { lastOutside, inputs, outputs }: Body,
  given: readonly Tensor[],
  scoped = (scope: string) => scope,
): Tensor[] {
  const found = new Map<Tensor, Tensor>(inputs.map((x, i) => [x, given[i]]));
  const outside = (node: Node) => node.id <= lastOutside || isLeaf(node);
  for (const node of topologicalOrder(outputs, outside)) {
    const own = node.inputs.map((x) => found.get(x) ?? x);
    const results = own.every((x, i) => x === node.inputs[i])
      ? node.outputs
      : atScope(scoped(node.scope), () => apply(node.operator, own, node.attributes));
    for (const [i, out] of node.outputs.entries()) found.set(out, results[i]);
  }
  return outputs.map((out) => found.get(out) ?? out);
}

const checkpointOperator = defineComposite<Body, null>({
  name: "checkpoint",
  infer: (_inputs, { outputs }) => outputs.map(({ dtype, shape }) => ({ dtype, shape })),
  lower: (inputs, body) => ({ outputs: rebuild(body, inputs), saved: null }),
  adjoint: (gradients, { inputs, attributes: body, needed }) => {
    const arrived = gradients.filter((g): g is Tensor => g !== null);
    const again = inputs.map((x, i) => (i < body.named ? after(x, arrived) : x));
    const outputs = rebuild(body, again, (scope) => `recompute/${scope}`);
    const wrt = again.filter((_, i) => needed[i]);
    const results = vectorJacobianProduct(outputs, gradients, wrt);
    let next = 0;
    return needed.map((n) => (n ? (results[next++] ?? zeros(wrt[next - 1].staticShape)) : null));
  },
  evaluate: (inputs, { inputs: placeholders, outputs }) =>
    evaluateTensors(outputs, new Map(placeholders.map((x, i) => [x, inputs[i]])), ({ attributes }) => {
      throw new Error(`checkpoint: "${(attributes as LeafAttributes).name}" was not found among its inputs`);
    }),
});

/**
 * Builds a part of the graph whose intermediates are not kept for the backward pass but computed again there.
 *
 * @param inputs what the part is computed again from: float32, int64 or bool, kept until then. At least one.
 * @param build makes the part. It may read any other tensor too (parameters, masks); what depends on those alone is kept.
 * @returns what `build` returned, all of known shape where a gradient arrives
 */
export function checkpoint(
  inputs: readonly Tensor[],
  build: (inputs: readonly Tensor[]) => readonly Tensor[],
): readonly Tensor[] {
  if (inputs.length === 0) throw new Error("checkpoint: expected at least one input, got none");
  const placeholders = inputs.map(({ dtype, shape }, i) => input(`checkpoint:${i}`, dtype, shape));
  const lastOutside = placeholders[placeholders.length - 1].node.id;
  const outputs = build(placeholders);
  const outside = new Set<Tensor>();
  const take = (x: Tensor) => {
    if ((x.node.id <= lastOutside || isLeaf(x.node)) && !placeholders.includes(x)) outside.add(x);
  };
  outputs.forEach(take);
  for (const node of topologicalOrder(outputs, (n) => n.id <= lastOutside || isLeaf(n))) {
    if (node.operator.kind === "adjoint")
      throw new Error(
        `checkpoint: expected no gradient inside, got ${(node.operator as AdjointOperator).name}`,
      );
    node.inputs.forEach(take);
  }
  const others = [...outside].filter((x) => x.node.operator.kind !== "constant");
  return apply(checkpointOperator, [...inputs, ...others], {
    lastOutside,
    inputs: [...placeholders, ...others],
    outputs,
    named: inputs.length,
  } satisfies Body);
}
