/**
 * @file A module for inference: its parameters become constants of the model. ONNX Runtime then arranges weights once, when it loads
 * them, instead of at every run, and computes ahead what depends on nothing else. Products with known matrices may become int8:
 *
 *     x W^T (+ c)   one scale a row of x and of W (linear-int8.ts): linear layers, logits over a table of embeddings
 *     P T           one scale a block of the vocabulary (mean-int8.ts): means of a table's rows
 */
import { KnownTensors } from "./known-tensors.js";
import { lower } from "./lower.js";
import { type GraphModule, rootsOf } from "./module.js";
import { add } from "./operators/elementwise.js";
import {
  type Int8Rows,
  type Int8Weight,
  int8Range,
  linearInt8,
  packInt8,
  quantizeRows,
  takeInt8Rows,
} from "./operators/linear-int8.js";
import { type Int8Table, meanInt8, packTable } from "./operators/mean-int8.js";
import type { Target } from "./target.js";
import { apply, atScope, constant, type Node, type Tensor } from "./tensor.js";
import { topologicalOrder } from "./walk.js";

/** Matrices in eight bits, by what they are made of: kept beside the parameters, they serve every module frozen with them. */
export class Int8Memory {
  readonly weights = new Map<string, Int8Weight>();
  readonly tables = new Map<string, Int8Table>();

  /** @param largest absolute value of a weight (see `int8Range`) */
  constructor(readonly largest: number = int8Range.full) {}
}

export interface FreezeOptions {
  /** Names of the parameters that int8 will do for, where products are with matrices made of them alone. Default: none. */
  readonly int8?: (name: string) => boolean;
  /** Of an earlier call with the same values. */
  readonly memory?: Int8Memory;
  /** What the module is for. Default: the processor, which alone has products in eight bits. */
  readonly target?: Target;
}

/**
 * The module with every parameter replaced by its value.
 * @param values float32 by parameter name
 * @throws Error when a value is missing, or the module has gradients
 */
export function freeze(
  module: GraphModule,
  values: Readonly<Record<string, Float32Array>>,
  { int8 = () => false, memory = new Int8Memory(), target }: FreezeOptions = {},
): GraphModule {
  if (Object.keys(module.gradients ?? {}).length > 0)
    throw new Error(`freeze: expected a module without gradients, got "${module.name}"`);
  const roots = lower(rootsOf(module), target);
  const frozen = new Map<Tensor, Tensor>();
  const known = new KnownTensors(values);
  const rounded = new Map<Tensor, Int8Rows>();

  // ONNX Runtime merges equal nodes, but not the product in eight bits: those are made once here.
  const taken = new Pairs<Int8Rows, Tensor, Int8Rows>();
  const products = new Pairs<Int8Rows, Int8Weight, Tensor>();

  /** Rows in eight bits, once for all who ask. Rows that are gathered are rounded before: experts and chunks share their tokens. */
  const int8Rows = (x: Tensor): Int8Rows => {
    const found = rounded.get(x);
    if (found) return found;
    const { operator, inputs, attributes } = x.node;
    const gathered =
      operator.name === "gather" && (attributes as { axis: number }).axis === 0 && inputs[0].rank === 2;
    const rows = gathered
      ? taken.get(int8Rows(inputs[0]), frozen.get(inputs[1])!, takeInt8Rows)
      : quantizeRows(frozen.get(x)!);
    rounded.set(x, rows);
    return rows;
  };
  const fits = (matrix: Tensor): boolean => {
    const parameters = known.origin(matrix)?.parameters ?? [];
    return matrix.rank === 2 && [...parameters].length > 0 && [...parameters].every(int8);
  };
  const remembered = <T>(
    map: Map<string, T>,
    matrix: Tensor,
    pack: (values: Float32Array, rows: number, columns: number) => T,
  ): T => {
    const { key } = known.origin(matrix)!;
    const [rows, columns] = matrix.staticShape;
    const packed = map.get(key) ?? pack(known.value(matrix), rows, columns);
    map.set(key, packed);
    return packed;
  };
  const rewrite = (node: Node): readonly Tensor[] => {
    const { operator, attributes } = node;
    if (operator.kind === "parameter") {
      const parameter = node.outputs[0];
      return [constant(known.parameter(parameter), parameter.staticShape)];
    }
    const product = rowProduct(node);
    if (product && fits(product.matrix)) {
      const { x, matrix, transposed, addend } = product;
      if (transposed) {
        const weight = remembered(memory.weights, matrix, (values, outer, inner) =>
          packInt8(values, outer, inner, memory.largest),
        );
        const result = products.get(int8Rows(x), weight, linearInt8);
        return [addend ? add(result, frozen.get(addend)!) : result];
      }
      if (!addend) return [meanInt8(frozen.get(x)!, remembered(memory.tables, matrix, packTable))];
    }
    const inputs = node.inputs.map((x) => frozen.get(x)!);
    return inputs.every((x, i) => x === node.inputs[i]) ? node.outputs : apply(operator, inputs, attributes);
  };

  for (const node of topologicalOrder(roots)) {
    known.visit(node);
    const outputs = atScope(node.scope, () => rewrite(node));
    for (const [i, out] of node.outputs.entries()) frozen.set(out, outputs[i]);
  }
  return {
    name: module.name,
    outputs: Object.fromEntries(Object.keys(module.outputs).map((name, i) => [name, frozen.get(roots[i])!])),
  };
}

/** What was made of two things, by which they are. */
class Pairs<A extends object, B extends object, C> {
  private readonly made = new Map<A, Map<B, C>>();

  get(a: A, b: B, make: (a: A, b: B) => C): C {
    const own = this.made.get(a) ?? new Map<B, C>();
    this.made.set(a, own);
    const result = own.get(b) ?? make(a, b);
    own.set(b, result);
    return result;
  }
}

/** x M, or x M^T, (+ c) of a matrix x whose rows are rows of the result, or null. */
function rowProduct({ operator, inputs, attributes }: Node) {
  const { transposeA, transposeB, scale } = attributes as Record<string, unknown>;
  const isProduct = operator.name === "gemm" || (operator.name === "matmul" && scale === 1);
  const [x, matrix, addend = null] = inputs;
  if (!isProduct || transposeA || x.rank !== 2) return null;
  return { x, matrix, transposed: transposeB === true, addend };
}
