/** @file Twins differ in what they claim to differ in, and in nothing else. */
import { describe, expect, it } from "vitest";
import { configFromLayers, presets, type RunConfig } from "../../config/index.js";
import { UserError } from "../../errors.js";
import { costOf } from "../../model/cost.js";
import { learningParameters, type TwinName, twin, twinNames, twins } from "./twins.js";

const baseOf = (model: object = {}): RunConfig =>
  configFromLayers([
    { name: "preset", config: presets["moe-diffuseq"] },
    { name: "size", config: { preset: "moe-diffuseq", model, data: { gapRate: 0.5 } } },
  ]);

/** Paths at which two configurations differ. */
function differences(a: unknown, b: unknown, path = ""): string[] {
  const isTree = (x: unknown) => typeof x === "object" && x !== null && !Array.isArray(x);
  if (!isTree(a) || !isTree(b)) return JSON.stringify(a) === JSON.stringify(b) ? [] : [path];
  const keys = new Set([...Object.keys(a as object), ...Object.keys(b as object)]);
  return [...keys]
    .flatMap((key) =>
      differences(
        (a as Record<string, unknown>)[key],
        (b as Record<string, unknown>)[key],
        path ? `${path}.${key}` : key,
      ),
    )
    .sort();
}

const attention = ["model.attention.full", "model.attention.globalTokens"];
const dense = ["model.experts.numExperts", "model.feedForwardSize"];
const absorbing = ["diffusion.absorbRate", "diffusion.absorbingNormWeight", "model.absorbingState"];
const noise = [
  "diffusion.absorbRate",
  "diffusion.absorbingNormWeight",
  "diffusion.gaussian",
  "diffusion.schedule",
  "model.codebook",
  "model.inputDecoding",
];
const expected: Record<TwinName, string[]> = {
  "moe-diffuseq": [],
  "dense-active": [...attention, ...dense, ...absorbing],
  "dense-total": [...attention, ...dense, ...absorbing],
  "sparse-attention": dense,
  experts: attention,
  "no-absorbing": absorbing,
  "diffuseq-v2": [...attention, ...dense],
  masked: noise,
  autoregressive: [
    ...attention,
    "model.attention.causal",
    ...dense,
    ...noise,
    "model.timeConditioning",
    "diffusion.objective",
    "data.gapRate",
  ],
};

describe("twins", () => {
  it.each(twinNames)("%s: changes the settings it names, no other", (name) => {
    const base = baseOf();
    expect(differences(base, twin(base, name))).toEqual([...expected[name]].sort());
  });

  it.each([
    {},
    { hiddenSize: 96, numHeads: 3, numLayers: 5, vocabSize: 1000, experts: { numExperts: 16, topK: 1 } },
  ])("have as many learning parameters as they claim (%o)", (sizes) => {
    const base = baseOf(sizes);
    const wanted = learningParameters(base);
    const off = (name: TwinName, of: "active" | "total", as: "active" | "total") =>
      Math.abs(learningParameters(twin(base, name))[of] / wanted[as] - 1);
    for (const name of twinNames) {
      const total = name === "dense-total";
      expect(off(name, total ? "total" : "active", total ? "total" : "active"), name).toBeLessThan(0.01);
    }
    for (const name of ["experts", "no-absorbing", "masked"] as const)
      expect(off(name, "total", "total"), name).toBeLessThan(0.01);
    expect(wanted.total).toBeGreaterThan(1.5 * wanted.active);
  });

  it("count what learns: the frozen tables of the base are no parameters of anybody's", () => {
    const base = baseOf();
    const { total, trainable } = costOf(base.model, { batchSize: 1, length: 1 }).parameters;
    expect(total - trainable).toBe(
      base.model.vocabSize * (base.model.embeddingSize + 1) + frozenBiases(base),
    );
    expect(learningParameters(base).total).toBe(trainable);
  });

  it("come by name, and refuse names and bases that make no sense", () => {
    const base = baseOf();
    expect([...twins(base, ["masked", "experts"]).keys()]).toEqual(["masked", "experts"]);
    expect(twins(base).size).toBe(twinNames.length);
    expect(() => twins(base, ["dense"])).toThrow(UserError);
    expect(() => twin(twin(base, "masked"), "experts")).toThrow(/expected a base with experts/);
  });
});

/** Selection biases of the loss-free balance: set by a rule, not learned. */
const frozenBiases = ({ model }: RunConfig) => model.numLayers * model.experts.numExperts;
