/** @file Cross entropy, posterior mean and rotary positions against their oracles, gradients included. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../evaluate.js";
import { gradient } from "../gradient.js";
import { cpuTarget, webgpuTarget } from "../target.js";
import { constant, parameter, type Tensor } from "../tensor.js";
import { array, checkOperator, distance, runOnnx, wave } from "../testing/check.js";
import { mul } from "./elementwise.js";
import { reduceMean } from "./reduce.js";
import { rotary } from "./rotary.js";
import { crossEntropy, posteriorMean } from "./vocabulary.js";

describe("vocabulary operators", () => {
  const targets = () => constant([3, 0, 3, 8, 1], [5], "int64");
  const parameters = {
    x: array([5, 4], wave(20, 2)),
    table: array([9, 4], wave(36, 3)),
    u: array([5, 3], wave(15, 4)),
    codebook: array([9, 3], wave(27, 5)),
    bias: array([9], wave(9, 6)),
  };
  it("crossEntropy of one term and of two", async () => {
    const { x, table, bias } = parameters;
    await checkOperator({ x, table, bias }, (p) =>
      crossEntropy([{ x: p.x, table: p.table, bias: p.bias }], targets()),
    );
    const both = { ...parameters, second: array([9], wave(9, 7)) };
    for (const [first, second] of [
      [true, true],
      [true, false],
      [false, true],
      [false, false],
    ])
      await checkOperator(both, (p) =>
        crossEntropy(
          [
            { x: p.x, table: p.table, bias: first ? p.bias : undefined },
            { x: p.u, table: p.codebook, bias: second ? p.second : undefined },
          ],
          targets(),
        ),
      );
  });
  it("crossEntropy of the wanted rows alone", async () => {
    const { x, table, bias } = parameters;
    for (const flags of [
      [1, 0, 1, 1, 0],
      [0, 0, 0, 0, 1],
      [0, 0, 0, 0, 0],
    ])
      await checkOperator({ x, table, bias }, (p) =>
        crossEntropy([{ x: p.x, table: p.table, bias: p.bias }], targets(), constant(flags, [5], "bool")),
      );
  });
  // Chunks are filled one after the other: with few rows wanted the last ones are empty.
  it.each([
    ["all rows, the last chunk short", () => 1],
    ["every third row, the last chunk empty", (i: number) => Number(i % 3 === 0)],
    ["no row", () => 0],
  ])("crossEntropy over several chunks: %s", async (_name, flag) => {
    const rows = 2 * 1024 + 3;
    const x = array([rows, 4], wave(rows * 4, 2));
    const p = {
      x: parameter("x", [rows, 4]),
      table: parameter("table", [9, 4]),
      bias: parameter("bias", [9]),
    };
    const ids = constant(
      Array.from({ length: rows }, (_, i) => (i * 5) % 9),
      [rows],
      "int64",
    );
    const wanted = constant(
      Array.from({ length: rows }, (_, i) => flag(i)),
      [rows],
      "bool",
    );
    const loss = reduceMean(crossEntropy([p], ids, wanted), [0]);
    const [gx, gt, gb] = gradient(loss, [p.x, p.table, p.bias]);
    const module = { name: "ce", outputs: { loss }, gradients: { x: gx, table: gt, bias: gb } };
    const values = { x, table: parameters.table, bias: parameters.bias };
    const slow = evaluate(module, {}, values);
    for (const target of [cpuTarget, webgpuTarget]) {
      const fast = await runOnnx(module, {}, values, target);
      for (const name of Object.keys(slow)) expect(distance(fast[name], slow[name]), name).toBeLessThan(2e-5);
    }
    // Unwanted rows count nothing, and the loss of the others is what it is without the flags.
    const each = { name: "o", outputs: { nll: crossEntropy([p], ids) } };
    const nll = evaluate(each, {}, values, { lowered: false }).nll.data;
    const mean = nll.reduce((sum, value, i) => sum + flag(i) * value, 0) / rows;
    expect(slow.loss.data[0]).toBeCloseTo(mean, 9);
  });
  it("posteriorMean with all gradients and with the table's alone", async () => {
    const { u: x, codebook, bias, table } = parameters;
    const mean = (p: Record<keyof typeof all, Tensor>, wanted: Tensor | null = null) =>
      posteriorMean({ x: p.x, table: p.codebook, bias: p.bias }, p.table, wanted);
    const all = { x, codebook, bias, table };
    await checkOperator(all, (p) => mean(p));
    await checkOperator(all, (p) => mean(p, constant([0, 1, 1, 0, 1], [5], "bool")));
    await checkOperator(all, (p) => mean(p), { differentiable: ["table"] });
  });
  it("rotary turns by position and keeps lengths", async () => {
    const positions = () => constant([0, 3, 1, 7, 2, 2], [2, 3], "int64");
    await checkOperator({ x: array([2, 3, 8]) }, ({ x }) =>
      rotary(x, positions(), { headSize: 4, theta: 1000, maxPosition: 8 }),
    );
    const x = parameter("x", [2, 3, 8]);
    const turned = rotary(x, positions(), { headSize: 4, theta: 1000, maxPosition: 8 });
    const values = { x: array([2, 3, 8]) };
    const norm = (t: typeof x) =>
      evaluate({ name: "n", outputs: { n: reduceMean(mul(t, t), [0, 1, 2]) } }, {}, values).n.data[0];
    expect(norm(turned)).toBeCloseTo(norm(x), 12);
  });
});
