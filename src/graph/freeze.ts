/**
 * @file A module for inference: its parameters become constants of the model. ONNX Runtime then arranges weights once, when it loads
 * them, instead of at every run, and computes ahead what depends on nothing else. Weights of linear layers may become int8.
 */
import { lower } from "./lower.js";
import { type GraphModule, rootsOf } from "./module.js";
import { linearInt8 } from "./operators/linear-int8.js";
import { apply, atScope, constant, type LeafAttributes, type Node, type Tensor } from "./tensor.js";
import { topologicalOrder } from "./walk.js";

export interface FreezeOptions {
  /** Names of the parameters that int8 will do for, where they are the weight [out, in] of a linear layer. Default: none. */
  readonly int8?: (name: string) => boolean;
}

/**
 * The module with every parameter replaced by its value.
 * @param values float32 by parameter name
 * @throws Error when a value is missing, or the module has gradients
 */
export function freeze(
  module: GraphModule,
  values: Readonly<Record<string, Float32Array>>,
  { int8 = () => false }: FreezeOptions = {},
): GraphModule {
  if (Object.keys(module.gradients ?? {}).length > 0)
    throw new Error(`freeze: expected a module without gradients, got "${module.name}"`);
  const roots = lower(rootsOf(module));
  const frozen = new Map<Tensor, Tensor>();

  const numbersOf = (parameter: Tensor): Float32Array => {
    const { name, shape } = parameter.node.attributes as LeafAttributes;
    const value = values[name];
    const size = shape.reduce<number>((product, d) => product * d!, 1);
    if (value?.length !== size)
      throw new Error(`freeze: expected ${size} values for "${name}", got ${value?.length ?? "none"}`);
    return value;
  };
  const rewrite = (node: Node): readonly Tensor[] => {
    const { operator, attributes } = node;
    if (operator.kind === "parameter") {
      const parameter = node.outputs[0];
      return [constant(numbersOf(parameter), parameter.staticShape)];
    }
    const linear = linearLayer(node);
    if (linear && int8((linear.weight.node.attributes as LeafAttributes).name)) {
      const bias = linear.bias ? frozen.get(linear.bias)! : null;
      const [outer, inner] = linear.weight.staticShape;
      return [linearInt8(frozen.get(linear.x)!, numbersOf(linear.weight), [outer, inner], bias)];
    }
    const inputs = node.inputs.map((x) => frozen.get(x)!);
    return inputs.every((x, i) => x === node.inputs[i]) ? node.outputs : apply(operator, inputs, attributes);
  };

  for (const node of topologicalOrder(roots)) {
    const outputs = atScope(node.scope, () => rewrite(node));
    for (const [i, out] of node.outputs.entries()) frozen.set(out, outputs[i]);
  }
  return {
    name: module.name,
    outputs: Object.fromEntries(Object.keys(module.outputs).map((name, i) => [name, frozen.get(roots[i])!])),
  };
}

/** x W^T (+ b) of a matrix x and a parameter W, or null. */
function linearLayer({ operator, inputs, attributes }: Node) {
  const { transposeA, transposeB, scale } = attributes as Record<string, unknown>;
  const isProduct = operator.name === "gemm" || (operator.name === "matmul" && scale === 1);
  if (!isProduct || transposeA || !transposeB) return null;
  const [x, weight, bias] = inputs;
  if (x.rank !== 2 || weight.node.operator.kind !== "parameter" || weight.rank !== 2) return null;
  if (bias && bias.rank !== 1) return null;
  return { x, weight, bias: bias ?? null };
}
