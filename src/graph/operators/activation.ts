/** @file Activation functions: GELU (erf), quick GELU x*sigmoid(1.702x), SiLU, squared ReLU. Composites with cheap adjoints. */
import { NDArray } from "../ndarray.js";
import { defineComposite, definePrimitive } from "../operator.js";
import { apply, type Tensor } from "../tensor.js";
import { add, erf, erfReference, exp, mul, relu, sigmoid, sub } from "./elementwise.js";

export type Activation = "gelu" | "quick_gelu" | "silu" | "relu2";

const swishReference = (x: number, slope: number): number => x / (1 + Math.exp(-slope * x));

/** The activations as functions of one number: what every form of them must compute. */
export const activationReference: Readonly<Record<Activation, (x: number) => number>> = {
  gelu: (x) => 0.5 * x * (1 + erfReference(x * Math.SQRT1_2)),
  quick_gelu: (x) => swishReference(x, 1.702),
  silu: (x) => swishReference(x, 1),
  relu2: (x) => Math.max(x, 0) ** 2,
};

const geluPrimitive = definePrimitive<object>({
  name: "geluErf",
  infer: ([x]) => [{ dtype: x.dtype, shape: x.shape }],
  onnx: () => ({ type: "Gelu" }),
  evaluate: ([x]) => [new NDArray(x.dtype, x.shape, x.data.map(activationReference.gelu))],
});

const gelu = defineComposite<object, null>({
  name: "gelu",
  infer: ([x]) => [{ dtype: x.dtype, shape: x.shape }],
  lower: ([x]) => ({ outputs: apply(geluPrimitive, [x], {}), saved: null }),
  // d/dx x Phi(x) = Phi(x) + x phi(x)
  adjoint: ([g], { inputs: [x] }) => {
    const cdf = mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5);
    const density = mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return [mul(g!, add(cdf, mul(x, density)))];
  },
  evaluate: ([x]) => [new NDArray(x.dtype, x.shape, x.data.map(activationReference.gelu))],
});

/** x * sigmoid(slope x): quick GELU for slope 1.702, SiLU for 1. With s = sigmoid(slope x), y = x s: y' = s + slope y (1 - s). */
const swish = defineComposite<{ slope: number }, { gate: Tensor; out: Tensor }>({
  name: "swish",
  infer: ([x]) => [{ dtype: x.dtype, shape: x.shape }],
  lower: ([x], { slope }) => {
    const gate = sigmoid(slope === 1 ? x : mul(x, slope));
    const out = mul(x, gate);
    return { outputs: [out], saved: { gate, out } };
  },
  adjoint: ([g], { attributes: { slope }, saved: { gate, out } }) => [
    mul(g!, add(gate, mul(out, sub(slope, slope === 1 ? gate : mul(gate, slope))))),
  ],
  evaluate: ([x], { slope }) => [
    new NDArray(
      x.dtype,
      x.shape,
      x.data.map((v) => swishReference(v, slope)),
    ),
  ],
});

const squaredRelu = defineComposite<object, { positive: Tensor }>({
  name: "squaredRelu",
  infer: ([x]) => [{ dtype: x.dtype, shape: x.shape }],
  lower: ([x]) => {
    const positive = relu(x);
    return { outputs: [mul(positive, positive)], saved: { positive } };
  },
  adjoint: ([g], { saved: { positive } }) => [mul(g!, add(positive, positive))],
  evaluate: ([x]) => [new NDArray(x.dtype, x.shape, x.data.map(activationReference.relu2))],
});

/** Applies an activation elementwise, by its Hugging Face name. */
export function activation(name: Activation, x: Tensor): Tensor {
  switch (name) {
    case "gelu":
      return apply(gelu, [x], {})[0];
    case "quick_gelu":
      return apply(swish, [x], { slope: 1.702 })[0];
    case "silu":
      return apply(swish, [x], { slope: 1 })[0];
    case "relu2":
      return apply(squaredRelu, [x], {})[0];
  }
}
