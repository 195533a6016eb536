/**
 * @file What an operator is. One operator, one definition: its shape rule, its ONNX form, its adjoint and its reference evaluation
 * stand together.
 *
 * - A *primitive* is one ONNX node.
 * - A *composite* (layer norm, window attention, experts) stays one node in the graph and is lowered to primitives when the model is
 *   written. Its `evaluate` is the slow, obvious form and serves as the oracle of the lowered one.
 */
import type { NDArray } from "./ndarray.js";
import type { Target } from "./target.js";
import type { Node, Tensor, TypeInfo } from "./tensor.js";

export type OnnxAttribute = number | string | readonly number[] | { readonly float: number };

/** The ONNX node a primitive becomes. */
export interface OnnxForm {
  readonly type: string;
  readonly domain?: "" | "com.microsoft";
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  /** Which tensor input stands at each place of the node; `null` leaves an optional input out. Default: all, in order. */
  readonly places?: readonly (number | null)[];
  /** int64 vectors appended after the tensor inputs (axes, shapes, pads ...); `null` leaves an optional input out. */
  readonly constants?: readonly (readonly number[] | null)[];
}

/** A gradient flowing backwards; `null` where there is none. */
export type MaybeTensor = Tensor | null;

export interface AdjointContext<A> {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attributes: A;
  /** Which inputs need a gradient; the others may be answered with `null` for free. */
  readonly needed: readonly boolean[];
}

export interface PrimitiveDefinition<A> {
  readonly name: string;
  infer(inputs: readonly Tensor[], attributes: A): readonly TypeInfo[];
  onnx(attributes: A, inputs: readonly Tensor[]): OnnxForm;
  /** The same by other primitives, where the target lacks this one; null: it has it. Absent: every target does. */
  legalize?(inputs: readonly Tensor[], attributes: A, target: Target): readonly Tensor[] | null;
  /** Vector-Jacobian product: gradients of the outputs in, gradients of the inputs out. Absent: not differentiable. */
  adjoint?(gradients: readonly MaybeTensor[], context: AdjointContext<A>): readonly MaybeTensor[];
  evaluate(inputs: readonly NDArray[], attributes: A): readonly NDArray[];
}

export interface CompositeDefinition<A, S> {
  readonly name: string;
  infer(inputs: readonly Tensor[], attributes: A): readonly TypeInfo[];
  /** The fast form on the target, in primitives (or other composites), and what its adjoint wants kept. */
  lower(
    inputs: readonly Tensor[],
    attributes: A,
    target: Target,
  ): { readonly outputs: readonly Tensor[]; readonly saved: S };
  /** Hand-written adjoint over the lowered form; absent: the lowered form is differentiated automatically. */
  adjoint?(
    gradients: readonly MaybeTensor[],
    context: AdjointContext<A> & { readonly saved: S },
  ): readonly MaybeTensor[];
  /** The slow form: what the operator means. Oracle of `lower`. */
  evaluate(inputs: readonly NDArray[], attributes: A): readonly NDArray[];
}

interface OperatorBase {
  readonly name: string;
  infer(inputs: readonly Tensor[], attributes: object): readonly TypeInfo[];
}
export interface LeafOperator extends OperatorBase {
  readonly kind: "input" | "parameter" | "constant";
}
export interface PrimitiveOperator extends PrimitiveDefinition<object> {
  readonly kind: "primitive";
}
export interface CompositeOperator extends CompositeDefinition<object, unknown> {
  readonly kind: "composite";
}
/** The gradient of one composite node; made by `gradient`, resolved when the graph is lowered. */
export interface AdjointOperator extends OperatorBase {
  readonly kind: "adjoint";
  readonly forward: Node;
  /** Which outputs of the forward node have a gradient among this node's inputs (in order). */
  readonly present: readonly boolean[];
  readonly needed: readonly boolean[];
}
export type Operator = LeafOperator | PrimitiveOperator | CompositeOperator | AdjointOperator;

/** Registers a primitive. The attribute type is known to the definition alone; nodes carry it as an opaque object. */
export const definePrimitive = <A extends object>(definition: PrimitiveDefinition<A>): PrimitiveOperator => ({
  ...(definition as unknown as PrimitiveDefinition<object>),
  kind: "primitive",
});

export const defineComposite = <A extends object, S>(
  definition: CompositeDefinition<A, S>,
): CompositeOperator => ({
  ...(definition as unknown as CompositeDefinition<object, unknown>),
  kind: "composite",
});
