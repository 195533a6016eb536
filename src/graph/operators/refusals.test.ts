/** @file What operators refuse when they are applied, and what they say then. */
import { expect, it } from "vitest";
import { type ConstantAttributes, constant, input, type Tensor } from "../tensor.js";
import type { DType, Shape } from "../types.js";
import { after } from "./after.js";
import * as e from "./elementwise.js";
import { topK } from "./indexing.js";
import { gemm, linear, matmul } from "./matmul.js";
import { layerNorm, rmsNorm, softmax } from "./normalise.js";
import { reduceMax, reduceMean, reduceMin, reduceSum } from "./reduce.js";
import { rotary } from "./rotary.js";
import { concat, pad, slice, transpose } from "./shape.js";
import { crossEntropy, type LogitTerm, posteriorMean, tiedLogits } from "./vocabulary.js";

const of = (shape: Shape, dtype: DType = "float32"): Tensor => input("x", dtype, shape);
const integers = (shape: Shape): Tensor => of(shape, "int64");

const term = ({
  x = of([5, 4]),
  table = of([9, 4]),
  bias = of([9]),
}: Partial<LogitTerm> = {}): Required<LogitTerm> => ({ x, table, bias });
const entropy = (
  terms: readonly LogitTerm[],
  targets = integers([5]),
  wanted: Tensor | null = null,
): Tensor => crossEntropy(terms, targets, wanted);
const mean = (channel: Partial<LogitTerm>, table = of([9, 3]), wanted: Tensor | null = null): Tensor =>
  posteriorMean(term(channel), table, wanted);
const turned = (x: Tensor, positions: Tensor, headSize = 4): Tensor =>
  rotary(x, positions, { headSize, theta: 1000, maxPosition: 8 });

const bools = (): Tensor => of([2], "bool");
const { add, sub, mul, div, maximum, minimum, less, lessOrEqual, greater, greaterOrEqual } = e;
const numeric = { add, sub, mul, div, maximum, minimum, less, lessOrEqual, greater, greaterOrEqual };

const refusals: [build: () => Tensor | object, message: string][] = [
  [() => entropy([]), "crossEntropy: expected at least one term, got none"],
  [() => entropy([term()], of([5])), "crossEntropy: expected the targets to be int64[?], got float32[5]"],
  [
    () => entropy([term()], integers([5, 1])),
    "crossEntropy: expected the targets to be int64[?], got int64[5, 1]",
  ],
  [
    () => entropy([term()], integers([6])),
    "crossEntropy: expected x of term 0 to be float32[6, ?], got float32[5, 4]",
  ],
  [
    () => entropy([term(), term({ x: of([6, 4]) })]),
    "crossEntropy: expected x of term 1 to be float32[5, ?], got float32[6, 4]",
  ],
  [
    () => entropy([term({ x: integers([5, 4]) })]),
    "crossEntropy: expected x of term 0 to be float32[5, ?], got int64[5, 4]",
  ],
  [
    () => entropy([term({ x: of([5]) })]),
    "crossEntropy: expected x of term 0 to be float32[5, ?], got float32[5]",
  ],
  [
    () => entropy([term({ table: of([9, 3]) })]),
    "crossEntropy: expected the table of term 0 to be float32[9, 4], got float32[9, 3]",
  ],
  [
    () => entropy([term(), term({ table: of([8, 4]), bias: of([8]) })]),
    "crossEntropy: expected the table of term 1 to be float32[9, 4], got float32[8, 4]",
  ],
  [
    () => entropy([term({ bias: of([8]) })]),
    "crossEntropy: expected the bias of term 0 to be float32[9], got float32[8]",
  ],
  [
    () => entropy([term({ bias: of([9, 1]) })]),
    "crossEntropy: expected the bias of term 0 to be float32[9], got float32[9, 1]",
  ],
  [
    () => entropy([term()], integers([5]), of([5])),
    "crossEntropy: expected the wanted rows to be bool[5], got float32[5]",
  ],
  [
    () => entropy([term()], integers([5]), of([4], "bool")),
    "crossEntropy: expected the wanted rows to be bool[5], got bool[4]",
  ],
  [
    () => mean({ x: of([5, 3]) }),
    "posteriorMean: expected the table of the channel to be float32[9, 3], got float32[9, 4]",
  ],
  [
    () => mean({ x: of([5]) }),
    "posteriorMean: expected x of the channel to be float32[5, ?], got float32[5]",
  ],
  [
    () => mean({ bias: of([8]) }),
    "posteriorMean: expected the bias of the channel to be float32[9], got float32[8]",
  ],
  [() => mean({}, of([8, 3])), "posteriorMean: expected the table to be float32[9, ?], got float32[8, 3]"],
  [
    () => mean({}, integers([9, 3])),
    "posteriorMean: expected the table to be float32[9, ?], got int64[9, 3]",
  ],
  [
    () => mean({}, of([9, 3]), of([6], "bool")),
    "posteriorMean: expected the wanted rows to be bool[5], got bool[6]",
  ],
  [() => tiedLogits([]), "tiedLogits: expected at least one term, got none"],
  [() => tiedLogits([term({ bias: of([8]) })]), "gemm: expected c to broadcast to [5, 9], got [8]"],

  [
    () => reduceMean(of([2, 3]), [0, -2]),
    "reduceMean: expected every axis of [2, 3] at most once, got [0, -2]",
  ],
  [() => reduceSum(of([2, 3]), [1, 1]), "reduceSum: expected every axis of [2, 3] at most once"],
  [() => reduceMax(of([2, 3]), [-1, 0, 1]), "reduceMax: expected every axis of [2, 3] at most once"],
  [() => reduceMin(of([2, 3]), [0, 0], true), "reduceMin: expected every axis of [2, 3] at most once"],

  [() => matmul(integers([2, 3]), of([3, 4])), "matmul: expected float32, got int64; use cast"],
  [() => matmul(of([2, 3]), of([3, 4], "bool")), "matmul: expected float32, got bool; use cast"],
  [() => gemm(of([2, 3]), of([3, 4]), integers([4])), "gemm: expected float32, got int64; use cast"],
  [() => gemm(of([2, 3]), of([3, 4]), of([3])), "gemm: expected c to broadcast to [2, 4], got [3]"],
  [() => gemm(of([2, 3]), of([3, 4]), of([4, 1])), "gemm: expected c to broadcast to [2, 4], got [4, 1]"],
  [() => gemm(of([1, 3]), of([3, 4]), of([2, 4])), "gemm: expected c to broadcast to [1, 4], got [2, 4]"],
  [
    () => linear(of([2, 3]), of([4, 3]), of([1, 2, 4])),
    "gemm: expected c to broadcast to [2, 4], got [1, 2, 4]",
  ],

  [() => softmax(integers([2, 3])), "softmax: expected float32, got int64; use cast"],
  [() => rmsNorm(integers([2, 3])), "rmsNorm: expected float32, got int64; use cast"],
  [() => layerNorm(integers([2, 3]), of([3]), of([3])), "layerNorm: expected float32, got int64; use cast"],
  [
    () => layerNorm(of([2, 3]), of([2]), of([3])),
    "layerNorm: expected the weight to be float32[3], got float32[2]",
  ],
  [
    () => layerNorm(of([2, 3]), of([3]), of([1, 3])),
    "layerNorm: expected the bias to be float32[3], got float32[1, 3]",
  ],
  ...([e.exp, e.log, e.sqrt, e.reciprocal, e.sigmoid, e.tanh, e.relu, e.sin, e.cos, e.erf] as const).map(
    (f): [() => Tensor, string] => [() => f(integers([2])), "expected float32, got int64; use cast"],
  ),
  [() => e.exp(of([2], "bool")), "exp: expected float32, got bool; use cast"],
  [() => e.not(of([2])), "not: expected bool, got float32; use cast"],
  ...Object.entries(numeric).map(([name, f]): [() => Tensor, string] => [
    () => f(bools(), bools()),
    `${name}: expected numbers, got bool; use cast`,
  ]),
  [() => e.neg(bools()), "neg: expected numbers, got bool; use cast"],
  [() => e.and(of([2]), of([2])), "and: expected bool, got float32; use cast"],
  [() => e.or(integers([2]), integers([2])), "or: expected bool, got int64; use cast"],

  [
    () => e.mul(of([2], "int32"), 0.5),
    "mul: expected integers from -2147483648 to 2147483647 for int32, got 0.5; round it, or use another dtype",
  ],
  [() => e.add(-1, of([2], "uint8")), "add: expected integers from 0 to 255 for uint8, got -1"],
  [
    () => e.where(bools(), of([2], "int8"), 128),
    "where: expected integers from -128 to 127 for int8, got 128",
  ],
  [() => e.equal(bools(), 2), "equal: expected integers from 0 to 1 for bool, got 2"],
  [() => constant(0.5, [], "int32"), "constant: expected integers from -2147483648 to 2147483647 for int32"],
  [() => constant([7, 300], [2], "uint8"), "constant: expected integers from 0 to 255 for uint8, got 300"],
  [() => constant(Float32Array.of(-129), [1], "int8"), "integers from -128 to 127 for int8, got -129"],
  [() => constant(Uint8Array.of(2), [1], "bool"), "expected integers from 0 to 1 for bool, got 2"],
  ...[Number.NaN, Number.POSITIVE_INFINITY, 0.5, 2 ** 63].map((value): [() => Tensor, string] => [
    () => constant([1, value], [2], "int64"),
    `for int64, got ${value}; round it, or use another dtype`,
  ]),

  [() => e.sumOf([]), "sumOf: expected at least one tensor, got none"],
  [() => after(of([2]), []), "after: expected at least one other tensor, got none"],

  [() => concat([], 0), "concat: expected at least one tensor, got none"],
  ...[
    [0, 1],
    [0, 1, 1],
    [0, 1, 3],
    [-1, 0, 1],
    [0, 1, 2, 3],
    [0, 0.5, 1],
  ].map((permutation): [() => Tensor, string] => [
    () => transpose(of([2, 3, 5]), permutation),
    `transpose: expected every axis of [2, 3, 5] once, counted from 0, got [${permutation.join(", ")}]`,
  ]),
  [
    () => slice(of([2, 3]), 1, 0.5, 2),
    "slice: expected integers 0 <= start <= end <= 3, got 0.5:2 on axis 1 of [2, 3]",
  ],
  [
    () => slice(of([null, 3]), 0, 0, Number.NaN),
    "slice: expected integers 0 <= start <= end <= ?, got 0:NaN",
  ],
  [
    () => pad(of([2, 3]), 1, -1, 1),
    "pad: expected integers from 0 on, got -1 before and 1 after axis 1 of [2, 3]",
  ],
  [() => pad(of([2, 3]), -2, 0, 0.5), "got 0 before and 0.5 after axis 0 of [2, 3]"],
  [() => pad(of([null, 3]), 0, Number.NaN, 0), "got NaN before and 0 after axis 0 of [?, 3]"],
  [() => topK(of([2, 5]), 0), "topK: expected k to be an integer from 1 to 5, got 0"],
  [() => topK(of([2, 5]), 1.5), "topK: expected k to be an integer from 1 to 5, got 1.5"],
  [() => topK(of([2, 5]), 6), "topK: expected k to be an integer from 1 to 5, got 6"],
  [() => topK(of([2, null]), -1), "topK: expected k to be an integer from 1 on, got -1"],

  [
    () => turned(of([2, 3, 6]), integers([2, 3]), 3),
    "rotary: expected an even head size that divides the width 6, got 3",
  ],
  [
    () => turned(of([2, 3, 6]), integers([2, 3])),
    "rotary: expected an even head size that divides the width 6, got 4",
  ],
  [
    () => turned(of([6, 8]), integers([6, 1])),
    "rotary: expected x to be float32[?, ?, ?], got float32[6, 8]",
  ],
  [
    () => turned(of([2, 3, 8]), integers([6])),
    "rotary: expected the positions to be int64[2, 3], got int64[6]",
  ],
  [
    () => turned(of([2, 3, 8]), of([2, 3])),
    "rotary: expected the positions to be int64[2, 3], got float32[2, 3]",
  ],
];

it.each(refusals.map(([build, message]) => ({ build, message })))("$message", ({ build, message }) => {
  expect(build).toThrow(message);
});

it("constants hold the ends of their types, and floats what comes nearest", () => {
  const held = (values: number[], dtype: DType) =>
    Array.from((constant(values, [values.length], dtype).node.attributes as ConstantAttributes).data, String);
  expect(held([0, 255], "uint8")).toEqual(["0", "255"]);
  expect(held([-128, 127], "int8")).toEqual(["-128", "127"]);
  expect(held([-(2 ** 31), 2 ** 31 - 1], "int32")).toEqual(["-2147483648", "2147483647"]);
  expect(held([-(2 ** 63), 2 ** 53], "int64")).toEqual(["-9223372036854775808", "9007199254740992"]);
  expect(held([2 ** 63 - 1024], "int64")).toEqual(["9223372036854774784"]);
  expect(held([0.1, -1e40, Number.NaN], "float32")).toEqual([`${Math.fround(0.1)}`, "-Infinity", "NaN"]);
  expect(e.equal(of([2], "bool"), 1).dtype).toBe("bool");
});

it("dimensions known at run time only may be any", () => {
  expect(entropy([term({ x: of([null, 4]), table: of([9, null]) })]).shape).toEqual([5]);
  expect(mean({ x: of([null, 4]) }).shape).toEqual([null, 3]);
  expect(gemm(of([null, 3]), of([3, 4]), of([2, 4])).shape).toEqual([null, 4]);
  expect(gemm(of([2, 3]), of([3, 4]), of([null, 4])).shape).toEqual([2, 4]);
  expect(gemm(of([2, 3]), of([3, 4]), of([])).shape).toEqual([2, 4]);
  expect(layerNorm(of([2, null]), of([3]), of([3])).shape).toEqual([2, null]);
  expect(turned(of([null, 1, 8]), integers([null, 1])).shape).toEqual([null, 1, 8]);
  expect(e.neg(integers([2])).dtype).toBe("int64");
});
