/** @file Cross entropy, posterior mean and rotary positions against their oracles, gradients included. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../evaluate.js";
import { gradient } from "../gradient.js";
import type { NDArray } from "../ndarray.js";
import { cpuTarget, webgpuTarget } from "../target.js";
import { constant, parameter, type Tensor } from "../tensor.js";
import { array, checkOperator, distance, runOnnx, wave } from "../testing/check.js";
import { mul } from "./elementwise.js";
import { reduceMean, reduceSum } from "./reduce.js";
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
  it("crossEntropy is at most 69 nats, while its gradient still pulls", async () => {
    const x = parameter("x", [1, 1]);
    const table = constant([200, 0], [2, 1]);
    const nll = crossEntropy([{ x, table }], constant([1], [1], "int64"));
    const module = {
      name: "far",
      outputs: { nll },
      gradients: { x: gradient(reduceSum(nll, [0]), [x])[0] },
    };
    const values = { x: array([1, 1], [1]) };
    const found = await runOnnx(module, {}, values);
    expect(found.nll.data[0]).toBeCloseTo(-Math.log(1e-30), 4);
    expect(found["gradient:x"].data[0]).toBeCloseTo(200, 4);
    const slow = evaluate({ name: "far", outputs: { nll } }, {}, values, { lowered: false });
    expect(slow.nll.data[0]).toBeCloseTo(200, 9);
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
  it.each([2, 6])("rotary with heads of %i", async (headSize) => {
    const positions = () => constant([0, 3, 1, 7, 2, 5], [2, 3], "int64");
    await checkOperator({ x: array([2, 3, 12]) }, ({ x }) =>
      rotary(x, positions(), { headSize, theta: 1000, maxPosition: 8 }),
    );
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

// Chunks hold 1,024 rows: the third one is short, or empty where few rows are wanted.
const ROWS = 2 * 1024 + 3;
type Wanted = (row: number) => number;
interface Several {
  readonly name: string;
  readonly wanted: Wanted | null;
  readonly recompute: boolean;
}
const several: Several[] = [
  { name: "all rows", wanted: null, recompute: false },
  { name: "all rows, computed again", wanted: () => 1, recompute: true },
  { name: "two rows of three, computed again", wanted: (row) => Number(row % 3 > 0), recompute: true },
  { name: "no row", wanted: () => 0, recompute: true },
];

/** An operator over some rows of `long` values, beside tables that all rows share. */
interface OverRows {
  readonly long: Record<string, NDArray>;
  readonly tables: Record<string, NDArray>;
  build(p: Record<string, Tensor>, rows: readonly number[]): Tensor;
}

/** What comes out at some rows, and the gradients of a weighted sum of it. */
function overRows({ long, tables, build }: OverRows, rows: readonly number[]) {
  const own = Object.entries(long).map(([name, { shape, data }]): [string, NDArray] => {
    const width = shape[1];
    const part = rows.flatMap((row) => Array.from(data.subarray(row * width, (row + 1) * width)));
    return [name, array([rows.length, width], part)];
  });
  const values = { ...Object.fromEntries(own), ...tables };
  const names = Object.keys(values);
  const leaves = Object.fromEntries(names.map((name) => [name, parameter(name, values[name].shape)]));
  const out = build(leaves, rows);
  const weights = constant(
    rows.flatMap((row) => wave(out.shape[1] ?? 1, row + 1)),
    out.staticShape,
  );
  const loss = reduceSum(
    mul(out, weights),
    out.shape.map((_, axis) => axis),
  );
  const gradients = gradient(
    loss,
    names.map((name) => leaves[name]),
  );
  const module = {
    name: "rows",
    outputs: { out },
    gradients: Object.fromEntries(names.map((name, i) => [name, gradients[i]])),
  };
  return { module, values };
}

/** All rows against the same rows a chunk at a time, which are checked above: results one behind the other, gradients of tables summed. */
async function checkOverRows(operator: OverRows): Promise<void> {
  const all = overRows(
    operator,
    Array.from({ length: ROWS }, (_, row) => row),
  );
  const parts = [0, 1024, 2048].map((start) => {
    const rows = Array.from({ length: Math.min(1024, ROWS - start) }, (_, i) => start + i);
    const { module, values } = overRows(operator, rows);
    return evaluate(module, {}, values);
  });
  const alone = { name: "out", outputs: all.module.outputs };
  const oracle = evaluate(alone, {}, all.values, { lowered: false }).out;
  const found = [
    evaluate(all.module, {}, all.values),
    await runOnnx(all.module, {}, all.values),
    await runOnnx(all.module, {}, all.values, webgpuTarget),
  ];
  for (const [form, results] of found.entries()) {
    expect(distance(results.out, oracle), `form ${form}`).toBeLessThan(form === 0 ? 1e-7 : 2e-6);
    for (const name of Object.keys(parts[0])) {
      const { shape, data } = results[name];
      const expected =
        name.replace("gradient:", "") in operator.tables
          ? data.map((_, i) => parts.reduce((sum, part) => sum + part[name].data[i], 0))
          : parts.flatMap((part) => Array.from(part[name].data));
      const bound = form === 0 ? 1e-9 : 1e-5;
      expect(distance(results[name], array(shape, expected)), `${name}, form ${form}`).toBeLessThan(bound);
    }
  }
}

describe.each(several)("over several chunks of rows: $name", ({ wanted, recompute }) => {
  const flags = (rows: readonly number[]) => wanted && constant(rows.map(wanted), [rows.length], "bool");
  const tables = {
    table: array([9, 4], wave(36, 3)),
    codebook: array([9, 3], wave(27, 5)),
    bias: array([9], wave(9, 6)),
  };
  it("posteriorMean", async () => {
    await checkOverRows({
      long: { x: array([ROWS, 3], wave(ROWS * 3, 2)) },
      tables,
      build: (p, rows) =>
        posteriorMean({ x: p.x, table: p.codebook, bias: p.bias }, p.table, flags(rows), { recompute }),
    });
  });
  it("crossEntropy of two terms", async () => {
    const ids = (rows: readonly number[]) =>
      constant(
        rows.map((row) => (row * 5) % 9),
        [rows.length],
        "int64",
      );
    await checkOverRows({
      long: { x: array([ROWS, 4], wave(ROWS * 4, 2)), u: array([ROWS, 3], wave(ROWS * 3, 4)) },
      tables: { ...tables, second: array([9], wave(9, 7)) },
      build: (p, rows) =>
        crossEntropy(
          [
            { x: p.x, table: p.table, bias: p.bias },
            { x: p.u, table: p.codebook, bias: p.second },
          ],
          ids(rows),
          flags(rows),
          { recompute },
        ),
    });
  });
});
