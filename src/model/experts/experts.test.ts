/** @file The experts composite: value against the per-token oracle, gradients against central differences, the odd loads. */
import { describe, expect, it } from "vitest";
import {
  type Activation,
  constant,
  evaluate,
  input,
  lower,
  type NDArray,
  parameter,
  sizeOf,
  type Tensor,
} from "../../graph/index.js";
import { array, checkOperator, wave } from "../../graph/testing/check.js";
import { topologicalOrder } from "../../graph/walk.js";
import { type ExpertOptions, type ExpertWeights, runExperts } from "./experts.js";

const D = 4;
const F = 6;

function expertArrays(numExperts: number, inner = F, width = D): Record<string, NDArray> {
  const shapes = { w1: [inner, width], b1: [inner], w2: [width, inner], b2: [width] };
  return Object.fromEntries(
    Array.from({ length: numExperts }, (_, e) =>
      Object.entries(shapes).map(([name, shape], i) => [
        `${e}.${name}`,
        array(shape, wave(sizeOf(shape), 10 * e + i + 2)),
      ]),
    ).flat(),
  );
}

const weights = (p: Record<string, Tensor>, numExperts: number): ExpertWeights[] =>
  Array.from({ length: numExperts }, (_, e) => ({
    w1: p[`${e}.w1`],
    b1: p[`${e}.b1`],
    w2: p[`${e}.w2`],
    b2: p[`${e}.b2`],
  }));

/** A routing of 7 tokens: `choices[t]` lists the experts of token t, padded with "no expert". */
function check(
  choices: number[][],
  numExperts: number,
  name: Activation = "quick_gelu",
  options: ExpertOptions = {},
) {
  const columns = Math.max(1, ...choices.map((c) => c.length));
  const experts = choices.flatMap((c) => [...c, ...Array<number>(columns - c.length).fill(numExperts)]);
  const shape = [choices.length, columns];
  const parameters = {
    x: array([choices.length, D]),
    gates: array(
      shape,
      wave(sizeOf(shape), 5).map((v, i) => (experts[i] === numExperts ? 0 : v)),
    ),
    ...expertArrays(numExperts),
  };
  return checkOperator(parameters, (p) =>
    runExperts(p.x, constant(experts, shape, "int64"), p.gates, weights(p, numExperts), name, options),
  );
}

describe("experts", () => {
  it.each<[string, number[][], number]>([
    [
      "K = 3 of 5",
      [
        [0, 1, 2],
        [4, 3, 0],
        [2, 0, 4],
        [1, 3, 4],
        [3, 2, 0],
        [4, 1, 2],
        [0, 3, 1],
      ],
      5,
    ],
    ["K = 1", [[0], [4], [2], [1], [3], [4], [0]], 5],
    [
      "K = E",
      [
        [0, 1, 2],
        [2, 1, 0],
        [1, 0, 2],
        [0, 2, 1],
        [2, 0, 1],
        [1, 2, 0],
        [0, 1, 2],
      ],
      3,
    ],
    [
      "an expert without tokens",
      [
        [0, 1],
        [4, 1],
        [1, 0],
        [0, 4],
        [1, 4],
        [4, 0],
        [0, 1],
      ],
      5,
    ],
    ["all tokens to one expert", [[2], [2], [2], [2], [2], [2], [2]], 5],
    ["padding and varying numbers of experts", [[0, 1, 2], [], [3], [4, 0], [], [], [1]], 5],
    ["no token has an expert", [[], [], [], [], [], [], []], 3],
  ])("%s", (_name, choices, numExperts) => check(choices, numExperts));

  it.each<Activation>(["gelu", "quick_gelu", "silu", "relu2"])("activation %s", (name) =>
    check([[0, 1], [2, 1], [1], [], [0, 2], [2], [1, 0]], 3, name),
  );

  it.each([
    ["as many pieces as some have rows", 2, [[0, 1], [2, 1], [1], [], [0, 2], [2], [1, 0]]],
    ["an expert without tokens", 1, [[0], [0], [0], [2], [0], [2], [0]]],
    ["pieces of one row, and none", 1, [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1], [2, 0, 1], [1, 2], [0]]],
  ])("rows in pieces: %s", (_name, rows, choices) => check(choices, 3, "quick_gelu", { rows }));

  it("rows in as many pieces as are expected, be they more or fewer", async () => {
    const choices = [[0], [2, 1], [0], [0], [2, 0], [0], [0]];
    for (const expected of [1, 3, 6, 14]) await check(choices, 3, "silu", { expected, rows: 1 });
    const shape = [7, 3];
    const p = Object.fromEntries(Object.entries(expertArrays(3)).map(([n, v]) => [n, parameter(n, v.shape)]));
    const [x, gates] = [parameter("x", [7, D]), parameter("gates", shape)];
    const experts = input("experts", "int64", shape);
    const products = (options: ExpertOptions) => {
      const out = runExperts(x, experts, gates, weights(p, 3), "silu", options);
      return topologicalOrder(lower([out])).filter(({ operator }) => operator.name === "gemm").length;
    };
    expect(products({ rows: 2 })).toBe(2 * 3 * 4);
    expect(products({ expected: 7, rows: 2 })).toBe(2 * 3 * 2);
  });

  it("a slot without expert adds exactly nothing, whatever its gate", () => {
    const p = Object.fromEntries(Object.entries(expertArrays(2)).map(([n, v]) => [n, parameter(n, v.shape)]));
    const x = array([3, D]);
    const gates = constant([0.5, 7, 7, 7, 0.25, 0.25], [3, 2]);
    const experts = constant([0, 2, 2, 2, 1, 0], [3, 2], "int64");
    const out = runExperts(constant(x.data, x.shape), experts, gates, weights(p, 2), "silu");
    for (const lowered of [false, true]) {
      const value = evaluate({ name: "none", outputs: { out } }, {}, expertArrays(2), { lowered }).out;
      expect([...value.data.slice(D, 2 * D)]).toEqual([0, 0, 0, 0]);
      expect(value.data[0]).not.toBe(0);
    }
  });

  it("names the expert whose weights do not fit", () => {
    const p = Object.fromEntries(
      Object.entries({ ...expertArrays(2), "1.w2": array([D, F + 1]) }).map(([n, v]) => [
        n,
        parameter(n, v.shape),
      ]),
    );
    const x = parameter("x", [3, D]);
    const experts = constant([0, 1, 1], [3, 1], "int64");
    expect(() => runExperts(x, experts, parameter("g", [3, 1]), weights(p, 2), "silu")).toThrow(
      /expert 1 expects weights \[6, 4\], \[6\], \[4, 6\], \[4\], got .*\[4, 7\]/,
    );
  });
});
