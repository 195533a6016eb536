/** @file Checkpoints change when things are computed, never what: values, gradients, and what is read from outside. */
import { describe, expect, it } from "vitest";
import { checkpoint } from "./checkpoint.js";
import { evaluate } from "./evaluate.js";
import { gradient, vectorJacobianProduct } from "./gradient.js";
import { lower } from "./lower.js";
import { defineComposite } from "./operator.js";
import { after } from "./operators/after.js";
import { add, exp, mul } from "./operators/elementwise.js";
import { gather, topK } from "./operators/indexing.js";
import { linear } from "./operators/matmul.js";
import { layerNorm } from "./operators/normalise.js";
import { reduceSum } from "./operators/reduce.js";
import { apply, constant, input, parameter, type Tensor, withScope } from "./tensor.js";
import { array, checkOperator, distance, runOnnx } from "./testing/check.js";
import { topologicalOrder } from "./walk.js";

const parameters = {
  x: array([5, 3]),
  w: array([3, 3]),
  b: array([3]),
  scale: array([3]),
  shift: array([3]),
};

/** Two outputs; reads parameters and a value made outside. */
const block = (x: Tensor, p: Record<string, Tensor>, mask: Tensor): Tensor[] => {
  const normed = layerNorm(x, p.scale, p.shift);
  const h = exp(mul(linear(normed, p.w, p.b), mask));
  const { indices } = topK(reduceSum(mask, [1]), 3);
  return [add(x, h), reduceSum(mul(gather(h, indices), 0.5), [0, 1])];
};

function losses(kept: boolean) {
  const p = Object.fromEntries(Object.entries(parameters).map(([n, v]) => [n, parameter(n, v.shape)]));
  const mask = add(input("mask", "float32", [5, 3]), 0);
  let h = mul(p.x, 2);
  let sum: Tensor = constant(0);
  for (let layer = 0; layer < 2; layer++) {
    const build = ([x]: readonly Tensor[]) => withScope(`layers.${layer}`, () => block(x, p, mask));
    const [next, extra] = kept ? build([h]) : checkpoint([h], build);
    h = next;
    sum = add(sum, extra);
  }
  const loss = add(sum, reduceSum(mul(h, h), [0, 1]));
  const names = Object.keys(parameters);
  const found = gradient(
    loss,
    names.map((n) => p[n]),
  );
  return { name: "m", outputs: { loss }, gradients: Object.fromEntries(names.map((n, i) => [n, found[i]])) };
}

describe("checkpoint", () => {
  it("gives the same values and gradients, to the bit", async () => {
    const feeds = { mask: array([5, 3]) };
    const plain = await runOnnx(losses(true), feeds, parameters);
    const again = await runOnnx(losses(false), feeds, parameters);
    expect(Object.keys(again)).toEqual(Object.keys(plain));
    for (const [name, { data }] of Object.entries(plain)) expect(again[name].data, name).toEqual(data);
    const exact = evaluate(losses(true), feeds, parameters);
    for (const [name, value] of Object.entries(evaluate(losses(false), feeds, parameters)))
      expect(distance(value, exact[name]), name).toBeLessThan(1e-12);
  });

  it("computes the part twice, and what does not depend on its inputs once", () => {
    const { outputs, gradients } = losses(false);
    const nodes = topologicalOrder(lower([outputs.loss, ...Object.values(gradients)]));
    const count = (name: string, scope: string) =>
      nodes.filter((n) => n.operator.name === name && n.scope === scope).length;
    for (const scope of ["layers.0", "layers.1"]) {
      expect(count("exp", scope)).toBe(1);
      expect(count("exp", `recompute/${scope}`)).toBe(1);
      expect(count("topK", scope)).toBe(1);
      expect(count("topK", `recompute/${scope}`)).toBe(0);
    }
  });

  it("has an oracle, and gradients that agree with central differences", () =>
    checkOperator(
      { x: array([4, 3]), w: array([3, 3]) },
      ({ x, w }) => checkpoint([x], ([y]) => [exp(linear(y, w))])[0],
    ));

  it("counts a path once where it reads a value and what that was made of", () =>
    checkOperator({ x: array([3, 4]), w: array([4]), b: array([4]) }, ({ x, w, b }) => {
      const { values } = topK(mul(x, 3), 2);
      const normed = layerNorm(x, w, b);
      const build = ([y]: readonly Tensor[]) => {
        const top = reduceSum(mul(values, reduceSum(x, [1], true)), [1], true);
        return [add(exp(y), mul(add(normed, w), top))];
      };
      return checkpoint([x], build)[0];
    }));

  it("refuses to be built of nothing, and gradients inside", () => {
    expect(() => checkpoint([], () => [])).toThrow("expected at least one input");
    const x = parameter("x", [2, 3]);
    const inner = ([y]: readonly Tensor[]) => {
      const norm = layerNorm(y, constant([1, 1, 1]), constant([0, 0, 0]));
      return vectorJacobianProduct([norm], [y], [y]).map((g) => g!);
    };
    expect(() => checkpoint([x], inner)).toThrow("expected no gradient inside, got layerNorm.adjoint");
  });
});

describe("gradient", () => {
  it("goes through a tensor that is asked for itself", () => {
    const p = parameter("p", [2]);
    const middle = mul(p, 2);
    const loss = reduceSum(mul(middle, p), [0]);
    const [toMiddle, toP] = gradient(loss, [middle, p]);
    const results = evaluate({ name: "m", outputs: { toMiddle, toP } }, {}, { p: array([2], [3, 5]) });
    expect([...results.toMiddle.data]).toEqual([3, 5]);
    expect([...results.toP.data]).toEqual([12, 20]);
  });
});

describe("a composite without an adjoint of its own", () => {
  const both = defineComposite<object, null>({
    name: "both",
    infer: ([x]) => [x, x],
    lower: ([x, y]) => ({ outputs: [mul(x, exp(y)), exp(x)], saved: null }),
    evaluate: ([x, y]) => [
      array(
        x.shape,
        x.data.map((v, i) => v * Math.exp(y.data[i])),
      ),
      array(x.shape, x.data.map(Math.exp)),
    ],
  });

  it("counts a tensor that it is given twice as often as that", () =>
    checkOperator({ x: array([5]) }, ({ x }) => apply(both, [x, x], {})[0]));

  it("gives zeros to inputs that a result does not depend on", () =>
    checkOperator({ x: array([5]), y: array([5]) }, ({ x, y }) => apply(both, [x, y], {})[1]));
});

describe("after", () => {
  it("is x, whatever the others hold", async () => {
    const [x, none, other] = [
      input("x", "float32", [2, 2]),
      input("none", "float32", [null, 3]),
      input("other", "float32", [2]),
    ];
    const ids = input("ids", "int64", [3]);
    const scalar = input("scalar", "float32", []);
    const module = {
      name: "after",
      outputs: { a: after(x, [none, other]), b: after(ids, [other]), c: after(scalar, [other, scalar]) },
    };
    const data = [0, -1.5, 1e-30, 3];
    for (const value of [0, Number.NEGATIVE_INFINITY, Number.NaN]) {
      const feeds = {
        x: array([2, 2], data),
        none: { dtype: "float32" as const, shape: [0, 3], data: new Float32Array(0) },
        other: { dtype: "float32" as const, shape: [2], data: Float32Array.of(value, 1) },
        scalar: array([], [2]),
        ids: { dtype: "int64" as const, shape: [3], data: BigInt64Array.of(4n, 5n, -6n) },
      };
      for (const results of [await runOnnx(module, feeds), evaluate(module, feeds)]) {
        expect([...results.a.data].map(Math.fround)).toEqual(data.map(Math.fround));
        expect([...results.b.data].map(Number)).toEqual([4, 5, -6]);
        expect(results.c).toEqual(array([], [2]));
      }
    }
  });
});
