/** @file Elementwise operators: arithmetic, comparisons, functions of one variable, `where` and `cast`. Operands broadcast. */
import { broadcastStrides, forEachIndex, NDArray } from "../ndarray.js";
import { definePrimitive, type MaybeTensor, type PrimitiveOperator } from "../operator.js";
import { apply, constant, type Tensor } from "../tensor.js";
import { type DType, onnxTypes, requireHeld } from "../types.js";
import { broadcastShape, unbroadcast } from "./broadcast.js";
import { requireDtype, requireNumbers, requireSome } from "./checks.js";

/** A tensor, or a number that takes its type from the other side. */
export type Scalar = Tensor | number;
type BinaryAdjoint = (g: Tensor, a: Tensor, b: Tensor, out: Tensor) => [MaybeTensor, MaybeTensor];

/** @throws Error when the type of the other side cannot hold the number */
function toTensor(name: string, value: Scalar, like: Tensor): Tensor {
  if (typeof value !== "number") return value;
  requireHeld(name, like.dtype, [value]);
  return constant(value, [], like.dtype);
}

/** `result`: its element type; default: that of the operands. `of`: what the operands may be. */
function binary(
  name: string,
  type: string,
  compute: (a: number, b: number, dtype: DType) => number,
  adjoint?: BinaryAdjoint,
  result?: DType,
  of: "numbers" | "bool" | "any" = "numbers",
): PrimitiveOperator {
  return definePrimitive<object>({
    name,
    infer: ([a, b]) => {
      if (a.dtype !== b.dtype)
        throw new Error(`${name}: expected operands of one dtype, got ${a.dtype} and ${b.dtype}; use cast`);
      if (of === "numbers") requireNumbers(name, a);
      if (of === "bool") requireDtype(name, a, "bool");
      return [{ dtype: result ?? a.dtype, shape: broadcastShape(name, a.shape, b.shape) }];
    },
    onnx: () => ({ type }),
    adjoint:
      adjoint &&
      (([g], { inputs: [a, b], outputs: [out], needed }) => {
        const [ga, gb] = adjoint(g!, a, b, out);
        return [
          needed[0] && ga ? unbroadcast(ga, a.shape) : null,
          needed[1] && gb ? unbroadcast(gb, b.shape) : null,
        ];
      }),
    evaluate: ([a, b]) => {
      const shape = broadcastShape(name, a.shape, b.shape) as number[];
      const out = NDArray.zeros(shape, result ?? a.dtype);
      forEachIndex(
        shape,
        [broadcastStrides(a.shape, shape), broadcastStrides(b.shape, shape)],
        (i, [ia, ib]) => {
          out.data[i] = compute(a.data[ia], b.data[ib], a.dtype);
        },
      );
      return [out];
    },
  });
}

const operators = {
  add: binary(
    "add",
    "Add",
    (a, b) => a + b,
    (g) => [g, g],
  ),
  sub: binary(
    "sub",
    "Sub",
    (a, b) => a - b,
    (g) => [g, neg(g)],
  ),
  mul: binary(
    "mul",
    "Mul",
    (a, b) => a * b,
    (g, a, b) => [mul(g, b), mul(g, a)],
  ),
  div: binary(
    "div",
    "Div",
    (a, b, dtype) => (dtype === "float32" ? a / b : Math.trunc(a / b)),
    (g, _a, b, out) => {
      const ga = div(g, b);
      return [ga, neg(mul(ga, out))];
    },
  ),
  maximum: binary(
    "maximum",
    "Max",
    (a, b) => Math.max(a, b),
    (g, a, b) => {
      const first = cast(greaterOrEqual(a, b), "float32");
      return [mul(g, first), mul(g, sub(1, first))];
    },
  ),
  minimum: binary(
    "minimum",
    "Min",
    (a, b) => Math.min(a, b),
    (g, a, b) => {
      const first = cast(lessOrEqual(a, b), "float32");
      return [mul(g, first), mul(g, sub(1, first))];
    },
  ),
  equal: binary("equal", "Equal", (a, b) => Number(a === b), undefined, "bool", "any"),
  less: binary("less", "Less", (a, b) => Number(a < b), undefined, "bool"),
  lessOrEqual: binary("lessOrEqual", "LessOrEqual", (a, b) => Number(a <= b), undefined, "bool"),
  greater: binary("greater", "Greater", (a, b) => Number(a > b), undefined, "bool"),
  greaterOrEqual: binary("greaterOrEqual", "GreaterOrEqual", (a, b) => Number(a >= b), undefined, "bool"),
  and: binary("and", "And", (a, b) => Number(a !== 0 && b !== 0), undefined, "bool", "bool"),
  or: binary("or", "Or", (a, b) => Number(a !== 0 || b !== 0), undefined, "bool", "bool"),
};

function call(operator: PrimitiveOperator, a: Scalar, b: Scalar): Tensor {
  if (typeof a === "number" && typeof b === "number")
    throw new Error(`${operator.name}: expected at least one tensor, got two numbers`);
  const like = (typeof a === "number" ? b : a) as Tensor;
  return apply(operator, [toTensor(operator.name, a, like), toTensor(operator.name, b, like)], {})[0];
}

export const add = (a: Scalar, b: Scalar): Tensor => call(operators.add, a, b);
export const sub = (a: Scalar, b: Scalar): Tensor => call(operators.sub, a, b);
export const mul = (a: Scalar, b: Scalar): Tensor => call(operators.mul, a, b);
/** Quotient; truncated towards zero for integers. */
export const div = (a: Scalar, b: Scalar): Tensor => call(operators.div, a, b);
/** Larger of two; on ties the gradient goes to the first. */
export const maximum = (a: Scalar, b: Scalar): Tensor => call(operators.maximum, a, b);
/** Smaller of two; on ties the gradient goes to the first. */
export const minimum = (a: Scalar, b: Scalar): Tensor => call(operators.minimum, a, b);
export const equal = (a: Scalar, b: Scalar): Tensor => call(operators.equal, a, b);
export const less = (a: Scalar, b: Scalar): Tensor => call(operators.less, a, b);
export const lessOrEqual = (a: Scalar, b: Scalar): Tensor => call(operators.lessOrEqual, a, b);
export const greater = (a: Scalar, b: Scalar): Tensor => call(operators.greater, a, b);
export const greaterOrEqual = (a: Scalar, b: Scalar): Tensor => call(operators.greaterOrEqual, a, b);
/** Both true (bool operands). */
export const and = (a: Tensor, b: Tensor): Tensor => call(operators.and, a, b);
/** Either true (bool operands). */
export const or = (a: Tensor, b: Tensor): Tensor => call(operators.or, a, b);

/** `of`: the element type it takes and returns; null: any number. */
function unary(
  name: string,
  type: string,
  compute: (x: number) => number,
  adjoint?: (g: Tensor, x: Tensor, out: Tensor) => Tensor,
  of: DType | null = "float32",
): (x: Tensor) => Tensor {
  const operator = definePrimitive<object>({
    name,
    infer: ([x]) => {
      if (of) requireDtype(name, x, of);
      else requireNumbers(name, x);
      return [{ dtype: x.dtype, shape: x.shape }];
    },
    onnx: () => ({ type }),
    adjoint: adjoint && (([g], { inputs: [x], outputs: [out] }) => [adjoint(g!, x, out)]),
    evaluate: ([x]) => [new NDArray(x.dtype, x.shape, x.data.map(compute))],
  });
  return (x) => apply(operator, [x], {})[0];
}

export const neg = unary(
  "neg",
  "Neg",
  (x) => -x,
  (g) => neg(g),
  null,
);
export const exp = unary("exp", "Exp", Math.exp, (g, _x, out) => mul(g, out));
export const log = unary("log", "Log", Math.log, (g, x) => div(g, x));
export const sqrt = unary("sqrt", "Sqrt", Math.sqrt, (g, _x, out) => div(mul(g, 0.5), out));
export const reciprocal = unary(
  "reciprocal",
  "Reciprocal",
  (x) => 1 / x,
  (g, _x, out) => neg(mul(g, mul(out, out))),
);
export const sigmoid = unary(
  "sigmoid",
  "Sigmoid",
  (x) => 1 / (1 + Math.exp(-x)),
  (g, _x, out) => mul(g, mul(out, sub(1, out))),
);
export const tanh = unary("tanh", "Tanh", Math.tanh, (g, _x, out) => mul(g, sub(1, mul(out, out))));
export const relu = unary(
  "relu",
  "Relu",
  (x) => Math.max(x, 0),
  (g, x) => mul(g, cast(greater(x, 0), "float32")),
);
export const sin = unary("sin", "Sin", Math.sin, (g, x) => mul(g, cos(x)));
export const cos = unary("cos", "Cos", Math.cos, (g, x) => neg(mul(g, sin(x))));
export const not = unary("not", "Not", (x) => Number(x === 0), undefined, "bool");
/** Gauss error function; the reference value is the series/continued fraction to double precision. */
export const erf = unary("erf", "Erf", erfReference, (g, x) =>
  mul(g, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))),
);

/** erf(x) in double precision: Maclaurin series for |x| < 3, Lentz continued fraction of erfc beyond. */
export function erfReference(x: number): number {
  const z = Math.abs(x);
  if (z < 3) {
    let term = z;
    let sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let k = 60; k >= 1; k--) fraction = k / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
}

const castOperator = definePrimitive<{ to: DType }>({
  name: "cast",
  infer: ([x], { to }) => [{ dtype: to, shape: x.shape }],
  onnx: ({ to }) => ({ type: "Cast", attributes: { to: onnxTypes[to] } }),
  adjoint: ([g], { inputs: [x] }) => [x.dtype === "float32" ? g : null],
  evaluate: ([x], { to }) => [
    new NDArray(
      to,
      x.shape,
      x.data.map((v) => (to === "bool" ? Number(v !== 0) : to === "float32" ? v : Math.trunc(v))),
    ),
  ],
});
/** Converts the element type; floats are truncated towards zero, bool is value != 0. */
export const cast = (x: Tensor, to: DType): Tensor =>
  x.dtype === to ? x : apply(castOperator, [x], { to })[0];

const whereOperator = definePrimitive<object>({
  name: "where",
  infer: ([c, a, b]) => {
    if (c.dtype !== "bool" || a.dtype !== b.dtype)
      throw new Error(`where: expected bool, T, T, got ${c.dtype}, ${a.dtype}, ${b.dtype}`);
    return [
      { dtype: a.dtype, shape: broadcastShape("where", broadcastShape("where", c.shape, a.shape), b.shape) },
    ];
  },
  onnx: () => ({ type: "Where" }),
  adjoint: ([g], { inputs: [c, a, b], needed }) => [
    null,
    needed[1] ? unbroadcast(where(c, g!, 0), a.shape) : null,
    needed[2] ? unbroadcast(where(c, 0, g!), b.shape) : null,
  ],
  evaluate: ([c, a, b]) => {
    const shape = broadcastShape("where", broadcastShape("where", c.shape, a.shape), b.shape) as number[];
    const out = NDArray.zeros(shape, a.dtype);
    forEachIndex(
      shape,
      [c, a, b].map((x) => broadcastStrides(x.shape, shape)),
      (i, [ic, ia, ib]) => {
        out.data[i] = c.data[ic] !== 0 ? a.data[ia] : b.data[ib];
      },
    );
    return [out];
  },
});
/** `condition ? a : b`, elementwise; a value that is not chosen passes neither its value nor a gradient. */
export function where(condition: Tensor, a: Scalar, b: Scalar): Tensor {
  const like = typeof a !== "number" ? a : typeof b !== "number" ? b : constant(0);
  return apply(whereOperator, [condition, toTensor("where", a, like), toTensor("where", b, like)], {})[0];
}

/** Sum of tensors of one shape, from the first on: pairs of additions run on all threads, ONNX's Sum on one. */
export function sumOf(tensors: readonly Tensor[]): Tensor {
  requireSome("sumOf", tensors);
  return tensors.reduce((total, x) => add(total, x));
}
