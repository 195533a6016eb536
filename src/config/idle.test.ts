import { describe, expect, it } from "vitest";
import { configFields } from "./fields.js";
import { idleSettings, refuseIdleSettings } from "./idle.js";
import { type PresetName, presetNames } from "./presets.js";
import { resolveConfig } from "./resolve.js";

const refused = (preset: PresetName, ...sets: string[]): string => {
  try {
    refuseIdleSettings(sets, resolveConfig({ preset, sets }));
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};

describe("settings that say nothing beside the others", () => {
  it.each<[PresetName, string, RegExp]>([
    [
      "moe-diffuseq",
      "model.attention.maxTextGlobals=8",
      /maxTextGlobals bounds how many .*\.textGlobals, "separators"/,
    ],
    ["moe-diffuseq", "model.feedForwardSize=64", /feedForwardSize is the width of a dense block/],
    ["moe-diffuseq", "model.experts.topP=0.5", /topP is for the router top-p/],
    ["moe-diffuseq", "model.experts.balanceLossWeight=1", /balanceLossWeight is for balance loss;/],
    ["diffuseq", "model.attention.window=64", /window is for windows, .* sees its whole document/],
    ["diffuseq", 'model.experts={"topK":4}', /topK is for experts, which this model has not/],
    ["masked", "diffusion.noiseScale=2", /noiseScale is for Gaussian noise/],
    ["autoregressive", "diffusion.timeSampler=loss-aware", /timeSampler is for noise levels/],
    ["autoregressive", "diffusion.lossWeighting=elbo", /lossWeighting is for noise levels/],
    [
      "diffuseq",
      "diffusion.absorbingNormWeight=1",
      /absorbingNormWeight weighs an absorbing state that is l/,
    ],
    ["masked", "data.documentPer=folder", /documentPer says what a document is in a folder/],
    ["masked", "diffusion.priorWeight=0.1", /priorWeight is for Gaussian noise/],
    ["masked", "data.validFraction=0.1", /validFraction is the share .* the embedded corpus has/],
    ["diffuseq", "model.attention.layers.1.window=8", /layers\.1\.window is for windows, and this layer/],
    ["diffuseq", 'model.attention.layers={"0":{"dilation":2}}', /layers\.0\.dilation is for windows/],
  ])("are refused: %s, %s", (preset, set, message) => {
    expect(refused(preset, set)).toMatch(message);
    expect(refused(preset, set)).toMatch(/^--set .*\.$/);
  });

  it.each<[PresetName, readonly string[]]>([
    ["moe-diffuseq", ["model.attention.maxTextGlobals=8", "model.attention.textGlobals=source"]],
    ["moe-diffuseq", ["model.feedForwardSize=64", "model.experts.numExperts=0"]],
    ["moe-diffuseq", ["model.experts.router=top-p", "model.experts.topP=0.5"]],
    ["moe-diffuseq", ["model.experts.balance=loss", "model.experts.balanceLossWeight=1"]],
    ["moe-diffuseq", ["diffusion.noiseScale=2", "diffusion.timeSampler=loss-aware"]],
    ["diffuseq", ["model.attention.window=64", 'model.attention.layers={"1":{"full":false}}']],
    ["diffuseq", ["model.experts.numExperts=4", "model.experts.topK=1"]],
    ["masked", ["diffusion.timeSampler=uniform", 'data={"train":["a.txt"],"validFraction":0.1}']],
    ["diffuseq", ["model.attention.layers.1.window=8", "model.attention.layers.1.full=false"]],
    ["diffuseq", ["diffusion.absorbingNormWeight=1", "model.absorbingState=learned"]],
  ])("are taken with what they need: %s, %j", (preset, sets) => {
    expect(refused(preset, ...sets)).toBe("");
  });

  it("of experts that choose, the balance, and what it does", () => {
    const router = "model.experts.router=expert-choice";
    expect(refused("moe-diffuseq", router, "model.experts.balance=none")).toMatch(
      /here experts choose, evenly/,
    );
    expect(refused("moe-diffuseq", router, "model.experts.balance=loss")).toBe("");
    expect(refused("moe-diffuseq", router, "model.experts.capacityFactor=1.5")).toMatch(
      /no limit where experts/,
    );
    expect(refused("moe-diffuseq", router, "model.experts.capacityFactor=0.5")).toBe("");
    expect(refused("masked", 'data={"valid":["a.txt"],"validFraction":0.1}')).toMatch(
      /held out where no valid/,
    );
  });

  it("are fields that there are, for every preset", () => {
    const paths = configFields().map(({ path }) => path);
    for (const setting of idleSettings) expect(paths).toContain(setting);
    // Each field by itself, with the value that it has.
    for (const preset of presetNames) {
      const config = resolveConfig({ preset });
      for (const path of paths.filter((one) => one !== "preset" && !one.includes(".N."))) {
        const value = path.split(".").reduce<unknown>((tree, key) => (tree as never)?.[key], config);
        const message = refused(preset, `${path}=${JSON.stringify(value)}`);
        if (message !== "") expect(message).toContain(`--set ${path} `);
      }
    }
  });
});
