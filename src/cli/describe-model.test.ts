import { describe, expect, it } from "vitest";
import { type RunConfig, runConfigSchema } from "../config/index.js";
import { costOf } from "../model/cost.js";
import { attentionPicture, describeModel } from "./describe-model.js";

const described = (config: RunConfig) => {
  const { batchSize, sequenceLength: length } = config.training;
  return describeModel(config, costOf(config.model, { batchSize, length }));
};

describe("describeModel", () => {
  it("tells parameters, a step's cost and every layer's attention", () => {
    const config = runConfigSchema.parse({
      model: {
        numLayers: 4,
        attention: { layers: { 2: { full: true }, 3: { window: 16, dilation: [1, 1, 4, 4] } } },
      },
      training: { batchSize: 2, sequenceLength: 2048, gradientAccumulation: 3 },
    });
    const text = described(config);
    expect(text).toMatch(/^Parameters +11\.9M, of which 10\.8M learn and 5\.55M work on a token$/m);
    expect(text).toMatch(/8 experts of 512, 2 a token \(top-k\)/);
    expect(text).toMatch(/2 x 2048 tokens, 3 of them a step/);
    expect(text).toMatch(/layers 0-1: 128 positions to each side; computes 20 % of all pairs \(in blocks\)/);
    expect(text).toMatch(/layer 2: the whole document; computes 100 % of all pairs$/m);
    expect(text).toMatch(/layer 3, heads 0-1: 16 positions to each side; computes/);
    expect(text).toMatch(/layer 3, heads 2-3: 16 positions to each side, every 4th; computes/);
    expect(text.split("\n").filter((line) => line.length > 100)).toEqual([]);
    expect(text).toContain("################");
  });

  it("says what a causal model sees", () => {
    const attention = { causal: true, window: 16, layers: { 1: { full: true } } };
    const text = described(runConfigSchema.parse({ model: { numLayers: 2, attention } }));
    expect(text).toMatch(/layer 0: 16 positions before itself; computes/);
    expect(text).toMatch(/layer 1: the document up to itself; computes 100 %/);
  });

  it("describes dense models", () => {
    const config = runConfigSchema.parse({ model: { experts: { numExperts: 0 } } });
    expect(described(config)).toMatch(/feed-forward +\S+ +dense, 1024/);
  });
});

describe("attentionPicture", () => {
  const row = (length: number, globals: number) => ({
    segment: new Uint8Array(length),
    isGlobal: Uint8Array.from({ length }, (_, i) => Number(i < globals)),
  });

  it("shows every position of a short row", () => {
    expect(attentionPicture({ window: 1, dilation: 1, full: false }, row(5, 1), 9)).toEqual([
      "##########",
      "######....",
      "########..",
      "##..######",
      "##....####",
    ]);
  });

  it("shows shares of a long one", () => {
    const lines = attentionPicture({ window: 64, dilation: 1, full: false }, row(1024, 0), 4);
    expect(lines).toEqual(["++--....", "--++--..", "..--++--", "....--++"]);
  });
});
