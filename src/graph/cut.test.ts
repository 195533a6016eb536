/** @file A module cut into pieces computes what it computed whole; what crosses, and what is computed again instead. */
import { describe, expect, it } from "vitest";
import { checkpoint } from "./checkpoint.js";
import { cutModule } from "./cut.js";
import { evaluate } from "./evaluate.js";
import { gradient } from "./gradient.js";
import { type GraphModule, leavesOf, rootsOf } from "./module.js";
import type { NDArray } from "./ndarray.js";
import { add, greater } from "./operators/elementwise.js";
import { linear } from "./operators/matmul.js";
import { layerNorm } from "./operators/normalise.js";
import { reduceSum } from "./operators/reduce.js";
import { crossEntropy, posteriorMean } from "./operators/vocabulary.js";
import { webgpuTarget } from "./target.js";
import { constant, input, type Node, parameter, type Tensor } from "./tensor.js";
import { array, runOnnx, wave } from "./testing/check.js";
import type { TensorData } from "./types.js";
import { topologicalOrder } from "./walk.js";

const parameters = {
  w0: array([3, 3]),
  w1: array([3, 3]),
  w2: array([3, 3]),
  shift: array([3]),
  table: array([4, 3]),
};
const names = Object.keys(parameters);
const feeds: Record<string, TensorData> = { x: array([5, 3]).toTensorData() };

/** Three layers that share a shift, between what reads and what predicts tokens by one table: of some rows, in groups of unknown size. */
function module(): GraphModule {
  const p = Object.fromEntries(Object.entries(parameters).map(([n, v]) => [n, parameter(n, v.shape)]));
  const x = input("x", "float32", [5, 3]);
  const wanted = greater(reduceSum(x, [1]), 0);
  const channel = { x, table: constant(wave(12, 3), [4, 3]), bias: constant([0, 1, 0, 2]) };
  const layer = (h: Tensor, weight: Tensor) =>
    checkpoint([h], ([own]) => [add(own, layerNorm(linear(own, weight), constant([1, 2, 3]), p.shift))])[0];
  const h = [p.w0, p.w1, p.w2].reduce(layer, add(x, posteriorMean(channel, p.table, wanted)));
  const targets = constant([3, 0, 2, 1, 1], [5], "int64");
  const loss = reduceSum(crossEntropy([{ x: h, table: p.table }], targets, wanted), [0]);
  const found = gradient(
    loss,
    names.map((n) => p[n]),
  );
  return {
    name: "m",
    outputs: { loss, h },
    gradients: Object.fromEntries(names.map((n, i) => [n, found[i]])),
  };
}

const pieces = [["w2"], ["w1"], ["w0", "shift", "table"]];

const toTensorData = (values: Record<string, NDArray>): Record<string, TensorData> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value.toTensorData()]));

/** Runs the pieces one after the other; what each leaves is fed to those that ask. */
async function runPieces(
  modules: readonly GraphModule[],
  run: (one: GraphModule, feeds: Record<string, TensorData>) => Promise<Record<string, TensorData>>,
): Promise<Record<string, TensorData>> {
  let known: Record<string, TensorData> = { ...feeds };
  const found: Record<string, TensorData> = {};
  for (const one of modules) {
    const wanted = [...leavesOf(rootsOf(one), "input").keys()].map((name) => [name, known[name]]);
    const results = await run(one, Object.fromEntries(wanted));
    known = { ...known, ...results };
    for (const [name, value] of Object.entries(results)) if (!name.startsWith("cut:")) found[name] = value;
  }
  return found;
}

describe("cutModule", () => {
  it("computes what the whole computes: to the bit in ONNX Runtime, and in float64", async () => {
    const whole = await runOnnx(module(), feeds, parameters);
    const cut = await runPieces(cutModule(module(), pieces, "cut:"), async (one, own) =>
      toTensorData(await runOnnx(one, own, parameters)),
    );
    expect(new Set(Object.keys(cut))).toEqual(new Set(Object.keys(whole)));
    for (const [name, { data }] of Object.entries(whole))
      expect(Float64Array.from(cut[name].data as Float32Array), name).toEqual(data);
    const exact = evaluate(module(), feeds, parameters);
    const slow = await runPieces(cutModule(module(), pieces, "cut:"), async (one, own) =>
      toTensorData(evaluate(one, own, parameters)),
    );
    for (const [name, { data }] of Object.entries(exact))
      for (const [i, value] of data.entries()) expect(slow[name].data[i], name).toBeCloseTo(Number(value), 5);
  });

  it("computes it for a graphics card, where every size is known", async () => {
    const whole = await runOnnx(module(), feeds, parameters);
    const modules = cutModule(module(), pieces, "cut:", webgpuTarget);
    for (const one of modules)
      for (const { outputs } of topologicalOrder(rootsOf(one)))
        for (const { shape } of outputs) expect(shape).not.toContain(null);
    const cut = await runPieces(modules, async (one, own) =>
      toTensorData(await runOnnx(one, own, parameters, webgpuTarget)),
    );
    for (const [name, { data }] of Object.entries(whole))
      for (const [i, value] of data.entries())
        expect(Number(cut[name].data[i]), name).toBeCloseTo(Number(value), 5);
  });

  it("passes tensors of known shape only, and no layer is computed for another piece's sake", () => {
    const modules = cutModule(module(), pieces, "cut:");
    expect(modules.map(({ gradients }) => Object.keys(gradients!))).toEqual(pieces);
    const crossing = modules.map(({ outputs }) =>
      Object.entries(outputs).filter(([name]) => name.startsWith("cut:")),
    );
    expect(crossing[0].length).toBeGreaterThan(0);
    for (const [, { shape }] of crossing.flat()) expect(shape).not.toContain(null);
    const count = (wanted: (node: Node) => boolean) =>
      modules.map((one) => topologicalOrder(rootsOf(one)).filter(wanted).length);
    const isWeight = ({ node }: Tensor) => /^w/.test((node.attributes as { name?: string }).name ?? "");
    const isForward = ({ operator, inputs, attributes }: Node) =>
      operator.name === "matmul" && isWeight(inputs[1]) && (attributes as { transposeB: boolean }).transposeB;
    expect(count(isForward)).toEqual([3 + 1, 1, 1]); // all layers, and each of them again where its gradient is made
    // Probabilities of rows of unknown number: those of the loss are used up at once, those of what reads are made again.
    expect(count(({ operator }) => operator.name === "softmax")).toEqual([2, 0, 1]);
  });

  it("one piece is the module", async () => {
    const [one] = cutModule(module(), [names], "cut:");
    expect(Object.keys(one.outputs)).toEqual(["loss", "h"]);
    expect(await runOnnx(one, feeds, parameters)).toEqual(await runOnnx(module(), feeds, parameters));
  });

  it("refuses pieces that leave a gradient out, or name it twice", () => {
    expect(() =>
      cutModule(
        module(),
        [
          ["w2", "table"],
          ["w1", "w0"],
        ],
        "cut:",
      ),
    ).toThrow("expected every gradient");
    expect(() =>
      cutModule(
        module(),
        [
          ["w2", "shift"],
          ["w1", "w0", "shift"],
        ],
        "cut:",
      ),
    ).toThrow("every gradient");
  });
});
