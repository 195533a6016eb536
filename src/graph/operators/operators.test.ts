/** @file Every primitive and small composite: value against the oracle on ONNX Runtime, gradient against central differences. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../evaluate.js";
import { gradient } from "../gradient.js";
import { constant, input, type Tensor } from "../tensor.js";
import { array, checkOperator, distance, runOnnx, wave } from "../testing/check.js";
import { activation } from "./activation.js";
import * as e from "./elementwise.js";
import { addRows, argMax, gather, gatherElements, maxRows, scatterElements, topK } from "./indexing.js";
import { gemm, linear, matmul } from "./matmul.js";
import { layerNorm, rmsNorm, softmax } from "./normalise.js";
import { cumulativeSum, reduceMax, reduceMean, reduceMin, reduceSum } from "./reduce.js";
import { concat, expand, pad, reshape, slice, splitByCounts, transpose } from "./shape.js";

type Build = (p: Record<string, Tensor>) => Tensor;
const positive = (n: number) => wave(n).map((v) => Math.abs(v) + 0.3);

describe("elementwise operators", () => {
  const binaries: [string, Build][] = [
    ["add", ({ a, b }) => e.add(a, b)],
    ["sub", ({ a, b }) => e.sub(a, b)],
    ["mul", ({ a, b }) => e.mul(a, b)],
    ["div", ({ a, b }) => e.div(a, b)],
    ["maximum", ({ a, b }) => e.maximum(a, b)],
    ["minimum", ({ a, b }) => e.minimum(a, b)],
    ["where", ({ a, b }) => e.where(e.greater(a, 0.1), a, b)],
  ];
  for (const [name, build] of binaries)
    it.each([
      [
        [3, 5],
        [3, 5],
      ],
      [
        [2, 3, 1],
        [3, 7],
      ],
      [[4], [1, 1]],
      [[], [2, 2]],
    ])(`${name} of %j and %j`, async (sa, sb) => {
      const [na, nb] = [sa, sb].map((s) => s.reduce((x, y) => x * y, 1));
      await checkOperator({ a: array(sa, wave(na, 2)), b: array(sb, positive(nb)) }, build);
    });

  const unaries: [string, (x: Tensor) => Tensor, boolean][] = [
    ["neg", e.neg, false],
    ["exp", e.exp, false],
    ["log", e.log, true],
    ["sqrt", e.sqrt, true],
    ["reciprocal", e.reciprocal, true],
    ["sigmoid", e.sigmoid, false],
    ["tanh", e.tanh, false],
    ["relu", e.relu, false],
    ["sin", e.sin, false],
    ["cos", e.cos, false],
    ["erf", (x) => e.erf(e.mul(x, 4)), false],
    ["gelu", (x) => activation("gelu", e.mul(x, 3)), false],
    ["quick_gelu", (x) => activation("quick_gelu", e.mul(x, 3)), false],
    ["silu", (x) => activation("silu", x), false],
    ["relu2", (x) => activation("relu2", x), false],
  ];
  it.each(unaries)("%s", async (_name, f, needsPositive) => {
    const values = needsPositive ? positive(15) : wave(15);
    await checkOperator({ x: array([3, 5], values) }, ({ x }) => f(x), { tolerance: 4e-6 });
  });

  it("comparisons and logic agree with the oracle", async () => {
    const a = input("a", "int64", [6]);
    const b = input("b", "int64", [6]);
    const both = e.and(e.lessOrEqual(a, b), e.not(e.equal(a, 3)));
    const module = {
      name: "logic",
      outputs: {
        both: e.cast(both, "float32"),
        either: e.cast(e.or(e.less(a, b), e.greater(a, b)), "int64"),
        least: e.cast(e.greaterOrEqual(a, b), "int64"),
        quotient: e.div(a, 2),
      },
    };
    const feeds = {
      a: { dtype: "int64" as const, shape: [6], data: BigInt64Array.from([1n, 3n, 5n, -7n, 0n, 2n]) },
      b: { dtype: "int64" as const, shape: [6], data: BigInt64Array.from([2n, 3n, 4n, 7n, 0n, 9n]) },
    };
    const fast = await runOnnx(module, feeds);
    const slow = evaluate(module, feeds);
    for (const name of Object.keys(module.outputs)) expect(fast[name].data).toEqual(slow[name].data);
    expect([...slow.both.data]).toEqual([1, 0, 0, 1, 1, 1]);
    expect([...slow.least.data]).toEqual([0, 1, 1, 0, 1, 0]);
    expect([...slow.quotient.data]).toEqual([0, 1, 2, -3, 0, 1]);
  });

  it("of equal values the gradient goes to the first", async () => {
    const [a, b] = ["a", "b"].map((name) => input(name, "float32", [4]));
    const feeds = { a: array([4], [1, 2, -3, 0.5]), b: array([4], [1, 5, -3, 0.25]) };
    for (const [f, first] of [
      [e.maximum, [1, 0, 1, 1]],
      [e.minimum, [1, 1, 1, 0]],
    ] as const) {
      const [ofA, ofB] = gradient(reduceSum(f(a, b), [0]), [a, b]);
      const module = { name: "ties", outputs: { ofA, ofB } };
      for (const found of [await runOnnx(module, feeds), evaluate(module, feeds)]) {
        expect([...found.ofA.data]).toEqual(first);
        expect([...found.ofB.data]).toEqual(first.map((share) => 1 - share));
      }
    }
  });

  it("cast cuts floats off towards zero, negative ones too; true is what is not 0", async () => {
    const x = input("x", "float32", [6]);
    const outputs = { whole: e.cast(x, "int64"), some: e.cast(e.cast(x, "bool"), "int64") };
    const feeds = { x: array([6], [-2.75, -1, -0.5, 0, 0.5, 1.75]) };
    for (const { whole, some } of [
      await runOnnx({ name: "cast", outputs }, feeds),
      evaluate({ name: "cast", outputs }, feeds),
    ]) {
      expect(Array.from(whole.data, (value) => value + 0)).toEqual([-2, -1, 0, 0, 0, 1]);
      expect([...some.data]).toEqual([1, 1, 1, 0, 1, 1]);
    }
  });
});

describe("shape operators", () => {
  const cases: [string, Build][] = [
    ["reshape", ({ x }) => reshape(x, [5, 6])],
    ["transpose", ({ x }) => transpose(x, [2, 0, 1])],
    ["slice", ({ x }) => slice(x, 1, 1, 3)],
    ["pad", ({ x }) => pad(x, 2, 1, 2)],
    ["concat", ({ x, y }) => concat([x, y, x], 1)],
    ["expand", ({ x }) => expand(reshape(x, [2, 1, 3, 5]), [2, 4, 3, 5])],
    ["reduceSum", ({ x }) => reduceSum(x, [0, 2])],
    ["reduceMean kept", ({ x }) => reduceMean(x, [1], true)],
    ["reduceMean to a scalar", ({ x }) => reduceMean(e.mul(x, x), [0, 1, 2])],
    ["softmax", ({ x }) => softmax(e.mul(x, 3))],
    ["rmsNorm", ({ x }) => rmsNorm(x)],
  ];
  it.each(cases)("%s", async (_name, build) => {
    const parameters = { x: array([2, 3, 5]), ...(_name === "concat" ? { y: array([2, 1, 5]) } : {}) };
    await checkOperator(parameters, build);
  });

  it.each<[string, Build]>([
    ["slice", ({ x }) => slice(x, -2, 1, 3)],
    ["pad", ({ x }) => pad(x, -1, 1, 2)],
    ["concat", ({ x, y }) => concat([x, y, x], -2)],
    ["reduceSum of no axes", ({ x }) => reduceSum(x, [])],
    ["reduceMean of no axes, kept", ({ x }) => reduceMean(x, [], true)],
  ])("%s, axes counted from the end", async (_name, build) => {
    const parameters = { x: array([2, 3, 5]), ...(_name === "concat" ? { y: array([2, 1, 5]) } : {}) };
    await checkOperator(parameters, build);
  });

  it("refuse axes that are not there, and shapes that do not stretch", () => {
    const x = input("x", "float32", [2, 3]);
    const message = (name: string, axis: number) =>
      `${name}: expected an axis from -2 to 1 of [2, 3], got ${axis}`;
    expect(() => slice(x, 2, 0, 1)).toThrow(message("slice", 2));
    expect(() => concat([x, x], -3)).toThrow(message("concat", -3));
    expect(() => reduceSum(x, [0, 5])).toThrow(message("reduceSum", 5));
    expect(() => expand(x, [2, 1])).toThrow("expand: expected a shape that [2, 3] stretches to, got [2, 1]");
    expect(() => expand(x, [4, 3])).toThrow("expand: expected shapes that broadcast");
  });

  it("reshape of no elements keeps a dimension of none", async () => {
    const x = input("x", "float32", [null, 3]);
    const module = { name: "none", outputs: { y: reshape(x, [2, 0, 5]) } };
    const feeds = { x: { dtype: "float32" as const, shape: [0, 3], data: new Float32Array(0) } };
    for (const { y } of [await runOnnx(module, feeds), evaluate(module, feeds)])
      expect(y.shape).toEqual([2, 0, 5]);
  });

  it("layerNorm", async () => {
    const parameters = { x: array([3, 2, 7]), w: array([7], positive(7)), b: array([7], wave(7, 3)) };
    await checkOperator(parameters, ({ x, w, b }) => layerNorm(x, w, b));
  });

  it("reduceMax, reduceMin and cumulativeSum", async () => {
    const parameters = { x: array([3, 5]) };
    await checkOperator(parameters, ({ x }) => reduceMax(x, [1], true), { differentiable: [] });
    await checkOperator(parameters, ({ x }) => reduceMin(x, [0]), { differentiable: [] });
    await checkOperator(parameters, ({ x }) => cumulativeSum(x, 1), { differentiable: [] });
    await checkOperator(parameters, ({ x }) => cumulativeSum(x, 0, true), { differentiable: [] });
  });

  it("splitByCounts cuts where the counts say, empty pieces too", async () => {
    const parameters = { x: array([5, 2]) };
    const counts = () => constant([2, 0, 3], [3], "int64");
    for (const part of [0, 1, 2])
      await checkOperator(parameters, ({ x }) => splitByCounts(x, counts(), -2, 3)[part], {
        differentiable: [],
      });
  });
});

describe("matrix products", () => {
  const flags = [false, true];
  for (const transposeA of flags)
    for (const transposeB of flags)
      it(`matmul transposeA=${transposeA} transposeB=${transposeB}, batched and broadcast`, async () => {
        const a = array(transposeA ? [2, 1, 5, 3] : [2, 1, 3, 5]);
        const b = array(transposeB ? [4, 7, 5] : [4, 5, 7], wave(140, 5));
        await checkOperator({ a, b }, (p) => matmul(p.a, p.b, { transposeA, transposeB, scale: 0.5 }));
      });
  it("gemm and linear", async () => {
    const parameters = { a: array([3, 5]), b: array([7, 5], wave(35, 4)), c: array([7], wave(7, 9)) };
    await checkOperator(parameters, ({ a, b, c }) => linear(a, b, c));
    await checkOperator({ a: parameters.a, b: parameters.b }, ({ a, b }) => linear(a, b));
    const turned = { a: array([5, 3]), b: array([5, 7], wave(35, 4)), c: array([3, 7], wave(21, 9)) };
    await checkOperator(turned, ({ a, b, c }) => gemm(a, b, c, { transposeA: true }));
  });
});

describe("indexing", () => {
  const indices = (list: number[], shape: number[]) => constant(list, shape, "int64");
  it("gather rows, with repeats", async () => {
    await checkOperator({ x: array([4, 3]) }, ({ x }) => gather(x, indices([3, 0, 3, 1, 3, 3], [2, 3])));
  });
  it("gather along a later axis", async () => {
    await checkOperator({ x: array([2, 4, 3]) }, ({ x }) => gather(x, indices([3, 0], [2]), 1), {
      differentiable: [],
    });
    const x = input("x", "float32", [2, 4, 3]);
    expect(() => gradient(reduceSum(gather(x, indices([3, 0], [2]), 1), [0, 1, 2]), [x])).toThrow(
      "gather: differentiable along axis 0 only; transpose first",
    );
  });
  it("gatherElements and scatterElements", async () => {
    await checkOperator({ x: array([2, 4]) }, ({ x }) =>
      gatherElements(x, indices([3, 0, 3, 1, 1, 2], [2, 3])),
    );
    await checkOperator({ x: array([2, 4]) }, ({ x }) =>
      gatherElements(x, indices([3, 0, 1, 2], [2, 2]), -1, true),
    );
    await checkOperator({ x: array([2, 4]), u: array([2, 3], wave(6, 3)) }, ({ x, u }) =>
      scatterElements(x, indices([3, 0, 3, 1, 1, 2], [2, 3]), u, 1, "add"),
    );
  });
  it("rows are added, or the larger kept, as often as a place is named", async () => {
    const inputs = { x: array([5, 3]), rows: array([7, 3], wave(21, 5)) };
    const places = indices([4, 0, 4, 2, 2, 2, 0], [7]);
    await checkOperator(inputs, ({ x, rows }) => addRows(x, places, rows));
    await checkOperator(inputs, ({ x, rows }) => maxRows(x, places, rows), { differentiable: [] });
    const [x, rows] = [constant([1, 5, 3], [3, 1]), constant([4, 2, 6, -1], [4, 1])];
    const largest = maxRows(x, constant([0, 1, 0, 2], [4], "int64"), rows);
    expect([...evaluate({ name: "largest", outputs: { largest } }, {}).largest.data]).toEqual([6, 5, 3]);
    expect(() =>
      gradient(reduceSum(maxRows(x, constant([0], [1], "int64"), slice(rows, 0, 0, 1)), [0, 1]), [rows]),
    ).toThrow('differentiable with reduction "add" only');
  });
  it("more rows than are written at once", async () => {
    const [count, total] = [4100, 7];
    const places = Array.from({ length: count }, (_, i) => (5 * i) % total);
    const rows = constant(wave(2 * count), [count, 2]);
    const [sum, largest] = [0, -9].map((start) => new Array<number>(2 * total).fill(start));
    for (const [i, value] of wave(2 * count).entries()) {
      const at = 2 * places[i >> 1] + (i & 1);
      sum[at] += value;
      largest[at] = Math.max(largest[at], value);
    }
    const index = constant(places, [count], "int64");
    const x = input("x", "float32", [total, 2]);
    const [ofGather] = gradient(reduceSum(e.mul(gather(x, index), rows), [0, 1]), [x]);
    const outputs = {
      sum: addRows(expand(constant(0), [total, 2]), index, rows),
      largest: maxRows(expand(constant(-9), [total, 2]), index, rows),
      ofGather,
    };
    const feeds = { x: array([total, 2]) };
    for (const found of [
      await runOnnx({ name: "many", outputs }, feeds),
      evaluate({ name: "many", outputs }, feeds),
    ]) {
      for (let i = 0; i < 2 * total; i++) {
        expect(found.sum.data[i]).toBeCloseTo(sum[i], 3);
        expect(found.ofGather.data[i]).toBeCloseTo(sum[i], 3);
        expect(found.largest.data[i]).toBeCloseTo(largest[i], 6);
      }
    }
  });
  it("gatherElements and scatterElements count indices from the end, and refuse what is outside", async () => {
    await checkOperator({ x: array([2, 4]) }, ({ x }) => gatherElements(x, indices([-1, 0, -4, 3], [2, 2])));
    const added = ({ x, u }: Record<string, Tensor>) =>
      scatterElements(x, indices([-1, 0, -4, 3], [2, 2]), u, -1, "add");
    await checkOperator({ x: array([2, 4]), u: array([2, 2], wave(4, 3)) }, added);
    const x = constant([1, 2, 3, 4], [1, 4]);
    const far = { name: "far", outputs: { y: gatherElements(x, indices([4], [1, 1])) } };
    expect(() => evaluate(far, {})).toThrow("gatherElements: expected an index from -4 to 3, got 4");
    expect(() => gatherElements(x, indices([0, 0], [2, 1]))).toThrow("none but axis 1 longer, got [2, 1]");
    const one = indices([0], [1, 1]);
    expect(() => scatterElements(x, one, constant([1, 2], [1, 2]), 1)).toThrow(
      "expected float32 updates of the shape of the indices, [1, 1], got float32[1, 2]",
    );
  });
  it("topK values carry gradients; ties go to the lower index", async () => {
    await checkOperator({ x: array([3, 6]) }, ({ x }) => topK(x, 2).values);
    const x = input("x", "int64", [5]);
    const { indices: order } = topK(x, 5, false);
    const feeds = {
      x: { dtype: "int64" as const, shape: [5], data: BigInt64Array.from([2n, 1n, 2n, 0n, 1n]) },
    };
    const module = { name: "order", outputs: { order } };
    expect([...evaluate(module, feeds).order.data]).toEqual([3, 1, 4, 0, 2]);
    expect(distance((await runOnnx(module, feeds)).order, evaluate(module, feeds).order)).toBe(0);
    for (const rows of [null, 0])
      expect(() => topK(input("rows", "float32", [rows, 5]), 2)).toThrow("expected one row at least");
  });
  it("topK of the smallest, ties to the lower index too", async () => {
    await checkOperator({ x: array([3, 7]) }, ({ x }) => topK(x, 2, false).values);
    const x = input("x", "float32", [2, 5]);
    const module = { name: "smallest", outputs: topK(x, 3, false) };
    const feeds = { x: array([2, 5], [2, -1, 2, 0, -1, 0.5, 0.25, 0.25, 0.25, 9]) };
    for (const { values, indices: order } of [await runOnnx(module, feeds), evaluate(module, feeds)]) {
      expect([...values.data]).toEqual([-1, -1, 0, 0.25, 0.25, 0.25]);
      expect([...order.data]).toEqual([1, 4, 3, 1, 2, 3]);
    }
  });
  it("argMax takes the first of equal elements, and no rows at all", async () => {
    const x = input("x", "float32", [null, 4]);
    const module = { name: "best", outputs: { best: argMax(x) } };
    const rows = (values: readonly number[]) => ({
      x: { dtype: "float32" as const, shape: [values.length / 4, 4], data: Float32Array.from(values) },
    });
    const feeds = rows([0, 3, 3, 1, -2, -2, -5, -9, 0, 0, 0, 1]);
    expect([...evaluate(module, feeds).best.data]).toEqual([1, 0, 3]);
    expect([...(await runOnnx(module, feeds)).best.data]).toEqual([1, 0, 3]);
    const column = { name: "best", outputs: { best: reshape(argMax(x), [null, 1]) } };
    expect((await runOnnx(column, rows([]))).best.shape).toEqual([0, 1]);
  });
});
