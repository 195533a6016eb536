/** @file Costs against the graphs themselves: every matrix product counted from tensor shapes, memory from when tensors are last used. */
import { describe, expect, it } from "vitest";
import {
  type ModelConfig,
  type PartialRunConfig,
  type PresetName,
  runConfigSchema,
} from "../config/index.js";
import { evaluationModule, trainingModule } from "../diffusion/modules.js";
import { tinyConfig } from "../diffusion/testing/tiny.js";
import { type GraphModule, lower, type Node, rootsOf, type Tensor } from "../graph/index.js";
import { topologicalOrder } from "../graph/walk.js";
import { costOf } from "./cost.js";
import { denoiserParameters } from "./denoiser.js";

/**
 * How many rows stand for a dimension that is known at run time only: those of one expert, or of one chunk over the vocabulary. Absorbed
 * positions have chunks of their own where others have noisy codes; as those cost more, all positions are counted as such.
 */
interface RunTimeRows {
  readonly routed: number;
  readonly chunk: number;
}
const rowsOf = ({ scope }: Node, { routed, chunk }: RunTimeRows): number =>
  scope.endsWith("/experts") ? routed : scope.endsWith("/absorbed") ? 0 : chunk;

/** Nodes that are equal to none before them: ONNX Runtime merges the others. */
function* mergedOrder(module: GraphModule): Generator<Node> {
  const ids = new Map<Tensor, string>();
  const known = new Map<string, number>();
  for (const node of topologicalOrder(lower(rootsOf(module)))) {
    const { operator, inputs, outputs, attributes } = node;
    const own = inputs.length === 0 ? `leaf ${known.size}` : "";
    const key = `${operator.name}(${inputs.map((x) => ids.get(x))})${own || JSON.stringify(attributes)}`;
    if (!known.has(key)) yield node;
    const id = known.get(key) ?? known.size;
    known.set(key, id);
    for (const [i, x] of outputs.entries()) ids.set(x, `${id}.${i}`);
  }
}

/** Flops of all matrix products of a module. */
function countedFlops(module: GraphModule, rows: RunTimeRows): number {
  let flops = 0;
  for (const node of mergedOrder(module)) {
    const { operator, inputs, outputs, attributes } = node;
    if (operator.name !== "matmul" && operator.name !== "gemm") continue;
    if (outputs[0].rank === 2 && outputs[0].shape[0] === 1) continue; // a sum of rows, written as a product
    const { transposeA } = attributes as { transposeA: boolean };
    const inner = inputs[0].shape.at(transposeA ? -2 : -1)!;
    flops += [...outputs[0].shape, inner].reduce<number>(
      (product, d) => product * (d ?? rowsOf(node, rows)),
      2,
    );
  }
  return flops;
}

const aliases = new Set(["reshape"]);

/** Largest number of elements alive at once when nodes run in order and tensors live until their last use (leaves do not count). */
function liveElements(module: GraphModule, rows: RunTimeRows): number {
  const roots = lower(rootsOf(module));
  const order = topologicalOrder(roots);
  const owner = (t: Tensor): Tensor => (aliases.has(t.node.operator.name) ? owner(t.node.inputs[0]) : t);
  const last = new Map<Tensor, number>();
  for (const [i, node] of order.entries()) for (const x of node.inputs) last.set(owner(x), i);
  for (const root of roots) last.set(owner(root), order.length);
  const ends = new Map<number, Tensor[]>();
  for (const [tensor, i] of last) ends.set(i, [...(ends.get(i) ?? []), tensor]);
  const size = (t: Tensor) =>
    t.node.operator.kind === "primitive"
      ? t.shape.reduce<number>(
          (product, d) => product * (d ?? rowsOf(t.node, rows)),
          t.dtype === "bool" ? 0.25 : 1,
        )
      : 0;
  let live = 0;
  let most = 0;
  for (const [i, node] of order.entries()) {
    for (const t of node.outputs) if (owner(t) === t && last.has(t)) live += size(t);
    most = Math.max(most, live);
    for (const t of ends.get(i) ?? []) live -= size(t);
  }
  return most;
}

const shape = { batchSize: 3, length: 16, globalSlots: 4 };

const variants: [string, PresetName, PartialRunConfig["model"]][] = [
  ["diffuseq", "diffuseq", {}],
  ["diffuseq-v2", "diffuseq-v2", {}],
  ["moe-diffuseq", "moe-diffuseq", {}],
  ["masked", "masked", {}],
  ["raw input", "moe-diffuseq", { inputDecoding: "none" }],
  ["learned codebook, self-conditioning", "moe-diffuseq", { codebook: "learned", selfConditioning: true }],
  [
    "dilated heads, one full layer",
    "masked",
    { attention: { dilation: [1, 2], layers: { 1: { full: true } } } },
  ],
  [
    "no globals, shared expert",
    "masked",
    { attention: { globalTokens: 0 }, experts: { sharedExpertSize: 5 } },
  ],
  ["expert choice", "masked", { experts: { router: "expert-choice" } }],
];

describe("costOf", () => {
  it.each(variants)("%s: counts every matrix product of the graphs", (_name, preset, model) => {
    const config = tinyConfig(preset, { model });
    const { experts, attention } = config.model;
    const globalSlots = attention.globalTokens > 0 ? shape.globalSlots : 0;
    const batch = { ...shape, globalSlots };
    const choices =
      experts.router === "expert-choice"
        ? Math.ceil((experts.topK * shape.length) / experts.numExperts) * experts.numExperts * shape.batchSize
        : experts.topK * shape.batchSize * shape.length;
    const rows = {
      routed: choices / Math.max(1, experts.numExperts),
      chunk: shape.batchSize * shape.length,
    };
    const cost = costOf(config.model, batch);
    expect(cost.flops.forward).toBe(countedFlops(evaluationModule(config, batch), rows));
    expect(cost.flops.training).toBe(countedFlops(trainingModule(config, batch), rows));
    const again = costOf(config.model, { ...batch, recompute: true });
    expect(again.flops.training).toBe(countedFlops(trainingModule(config, batch, "layers"), rows));
    expect(Object.values(cost.flops.byPart).reduce((a, b) => a + b)).toBe(cost.flops.forward);
    expect(cost.flopsPerToken.forward * shape.batchSize * shape.length).toBeCloseTo(cost.flops.forward, 6);
  });

  it("counts what is computed again when the vocabulary's probabilities are not kept", () => {
    for (const preset of ["moe-diffuseq", "masked", "diffuseq"] as const) {
      const config = tinyConfig(preset, { model: { vocabSize: 1 << 20 } });
      const batch = { batchSize: 6, length: 11, globalSlots: config.model.attention.globalTokens };
      const rows = { routed: (2 * 66) / Math.max(1, config.model.experts.numExperts), chunk: 66 };
      expect(costOf(config.model, batch).flops.training).toBe(
        countedFlops(trainingModule(config, batch), rows),
      );
    }
  });

  it("rounds the capacity of an expert as the router does: in integers", () => {
    const flops = (capacityFactor: number) => {
      const { model } = tinyConfig("moe-diffuseq", {
        model: { experts: { numExperts: 4, topK: 2, capacityFactor } },
      });
      return costOf(model, { batchSize: 1, length: 50 }).flops.forward;
    };
    expect(0.28 * 2 * 50).toBeGreaterThan(7 * 4); // 28.000000000000004
    expect(flops(0.28)).toBe(flops(0.279));
    expect(flops(0.281)).toBeGreaterThan(flops(0.28));
  });

  it("counts parameters: all, active, and what each costs", () => {
    const { model } = tinyConfig("moe-diffuseq");
    const definitions = denoiserParameters(model);
    const size = (names: RegExp) =>
      definitions
        .filter(({ name }) => names.test(name))
        .reduce((sum, d) => sum + d.shape.reduce((a, b) => a * b, 1), 0);
    const { parameters, memory } = costOf(model, shape);
    const expert = size(/^layers\.0\.experts\.0\./);
    expect(expert).toBe(8 * 5 * 2 + 8 + 5);
    expect(parameters.total).toBe(size(/./));
    expect(parameters.active).toBe(parameters.total - model.numLayers * expert); // 3 experts, 2 run
    expect(parameters.embedding).toBe(11 * 6 + 2 * 6 + 11 * 6 + 6);
    const buffers = size(/^codebook|^log_unigram|selection_bias$/);
    expect(parameters.trainable).toBe(parameters.total - buffers);
    expect(Object.values(parameters.byPart).reduce((a, b) => a + b)).toBe(parameters.total);
    expect(memory.optimizer).toBe(4 * (5 * parameters.trainable + buffers));
    expect(memory.checkpoint).toBe(4 * (4 * parameters.trainable + buffers));
    const dense = costOf(tinyConfig("diffuseq").model, { ...shape, ema: false });
    expect(dense.parameters.active).toBe(dense.parameters.total);
    expect(dense.memory.optimizer).toBe(4 * (dense.parameters.total + 3 * dense.parameters.trainable));
  });

  it.each<[string, PresetName, PartialRunConfig["model"]]>([
    ["small experts", "moe-diffuseq", {}],
    ["masked", "masked", {}],
    ["dense", "diffuseq", {}],
    ["long", "masked", { numLayers: 8 }],
  ])("%s: estimates the memory of a step to a third", (_name, preset, model) => {
    const config = tinyConfig(preset, {
      model: {
        vocabSize: 1024,
        embeddingSize: 32,
        hiddenSize: 64,
        feedForwardSize: 256,
        attention: { window: 16 },
        experts: { intermediateSize: 128 },
        ...model,
      },
    });
    const batch = { batchSize: 2, length: 256, globalSlots: config.model.attention.globalTokens };
    const rows = { routed: (2 * 512) / Math.max(1, config.model.experts.numExperts), chunk: 512 };
    const counted = 4 * liveElements(trainingModule(config, batch), rows);
    const ratio = costOf(config.model, batch).memory.activations / counted;
    expect(ratio).toBeGreaterThan(0.75);
    expect(ratio).toBeLessThan(1.33);
  });

  it("grows linearly with length under a window, and not with experts", () => {
    const model: ModelConfig = runConfigSchema.parse({ model: { numLayers: 2 } }).model;
    const perToken = (length: number, experts = 8) =>
      costOf({ ...model, experts: { ...model.experts, numExperts: experts } }, { batchSize: 1, length })
        .flopsPerToken.forward;
    expect(perToken(65536) / perToken(16384)).toBeLessThan(1.01);
    expect(perToken(4096, 32) / perToken(4096, 8)).toBeLessThan(1.02);
  });
});
