/**
 * @file Symbolic tensors and the nodes that produce them.
 *
 * A graph is nothing but tensors that know the node that made them: there is no builder object and no tape. `apply` makes a node
 * from an operator; shapes and dtypes are inferred at once, so a mistake is reported where it is written.
 */
import type { Operator } from "./operator.js";
import { type DType, requireHeld, type Shape, type TypedData, typedData } from "./types.js";

/** One application of an operator. `id` grows with creation, so inputs always have smaller ids than outputs. */
export interface Node {
  readonly id: number;
  readonly operator: Operator;
  readonly inputs: readonly Tensor[];
  readonly attributes: object;
  readonly outputs: readonly Tensor[];
  /** Slash-separated place in the model ("layers.0/attention"), for profiles and ONNX names. */
  readonly scope: string;
}

/** A value in a graph: output number `index` of `node`. */
export class Tensor {
  constructor(
    readonly node: Node,
    readonly index: number,
    readonly dtype: DType,
    readonly shape: Shape,
  ) {}

  /** Number of axes. */
  get rank(): number {
    return this.shape.length;
  }

  /** The shape, when every dimension is known; throws otherwise. */
  get staticShape(): readonly number[] {
    if (this.shape.some((d) => d === null))
      throw new Error(
        `${this.node.operator.name}: expected a shape known in advance, got [${this.shape.map((d) => d ?? "?").join(", ")}]`,
      );
    return this.shape as readonly number[];
  }
}

export interface TypeInfo {
  readonly dtype: DType;
  readonly shape: Shape;
}

let nextId = 1;
let currentScope = "";

/** Runs `build` with `name` appended to the scope of every node it makes. */
export function withScope<T>(name: string, build: () => T): T {
  const outer = currentScope;
  currentScope = outer ? `${outer}/${name}` : name;
  try {
    return build();
  } finally {
    currentScope = outer;
  }
}

/** Runs `build` with the scope set to exactly `scope` (used when a node is rewritten in place). */
export function atScope<T>(scope: string, build: () => T): T {
  const outer = currentScope;
  currentScope = scope;
  try {
    return build();
  } finally {
    currentScope = outer;
  }
}

/** Makes a node and returns its outputs. */
export function apply(operator: Operator, inputs: readonly Tensor[], attributes: object): readonly Tensor[] {
  const outputs: Tensor[] = [];
  const node: Node = { id: nextId++, operator, inputs, attributes, outputs, scope: currentScope };
  for (const [index, type] of operator.infer(inputs, attributes).entries())
    outputs.push(new Tensor(node, index, type.dtype, type.shape));
  return outputs;
}

/** Attributes of the three leaves: inputs, parameters, constants. */
export interface LeafAttributes {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}
export interface ConstantAttributes {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedData;
}

/** Equal for constants that are equal to the bit; null: that of a large one would be as large. */
export const constantKey = ({ dtype, shape, data }: ConstantAttributes): string | null =>
  data.length > 64
    ? null
    : `${dtype}[${shape}](${Array.from(data as ArrayLike<number | bigint>, (v) => (Object.is(v, -0) ? "-0" : String(v)))})`;

const leaf = (kind: "input" | "parameter"): Operator => ({
  kind,
  name: kind,
  infer: (_inputs, attributes) => {
    const { dtype, shape } = attributes as LeafAttributes;
    return [{ dtype, shape }];
  },
});
const inputOperator = leaf("input");
const parameterOperator = leaf("parameter");
const constantOperator: Operator = {
  kind: "constant",
  name: "constant",
  infer: (_inputs, attributes) => {
    const { dtype, shape } = attributes as ConstantAttributes;
    return [{ dtype, shape }];
  },
};

/** A value fed at every run. */
export const input = (name: string, dtype: DType, shape: Shape): Tensor =>
  apply(inputOperator, [], { name, dtype, shape } satisfies LeafAttributes)[0];

/** A float32 value that lives in a parameter store: trained, or a buffer (fixed codebook, router bias). */
export const parameter = (name: string, shape: readonly number[]): Tensor =>
  apply(parameterOperator, [], { name, dtype: "float32", shape } satisfies LeafAttributes)[0];

/**
 * A value written into the graph. Numbers are converted to the dtype; a bare number becomes a scalar of shape [].
 * @throws Error when there are more or fewer than the shape has, or an integer type cannot hold one as it is
 */
export function constant(
  values: number | ArrayLike<number>,
  shape?: readonly number[],
  dtype: DType = "float32",
): Tensor {
  const list: ArrayLike<number> = typeof values === "number" ? [values] : values;
  const dims = shape ?? (typeof values === "number" ? [] : [list.length]);
  requireHeld("constant", dtype, list);
  const data = typedData(dtype, list);
  if (data.length !== dims.reduce((a, b) => a * b, 1))
    throw new Error(`constant: expected ${dims.join("x") || "1"} values, got ${data.length}`);
  return apply(constantOperator, [], { dtype, shape: dims, data } satisfies ConstantAttributes)[0];
}
