import { expect, it } from "vitest";
import { resolveConfig } from "../config/resolve.js";
import { generationSettings } from "./generation-settings.js";
import type { Flags } from "./options.js";

const message = (preset: string, flags: Flags, ...sets: string[]): string => {
  try {
    generationSettings(resolveConfig({ preset, sets }), flags);
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};
const set = (...settings: string[]): Flags => ({ set: settings.map((setting) => `generation.${setting}`) });

it("refuses what says nothing beside the other settings", () => {
  expect(message("masked", { contextLength: 20 })).toBe(
    "--context-length is for texts in blocks; give --block-length with it.",
  );
  expect(message("masked", { untilEnd: true })).toContain("--until-end is for texts in blocks");
  expect(message("masked", { untilEnd: true, blockLength: 8 })).toBe("");
  expect(message("masked", { select: "mbr" })).toContain("give --candidates 2 or more");
  expect(message("masked", { select: "mbr", candidates: 2 })).toBe("");
  expect(message("masked", set("repetitionWindow=8"))).toContain("give --repetition-penalty");
  expect(message("masked", set("confidenceThreshold=0.5"))).toContain("--release confidence-threshold");
  expect(message("masked", set("confidenceThreshold=0.5", "reabsorb=0.1"))).toBe("");
});

it("refuses what a model of this training or its sampler does not know", () => {
  expect(message("masked", { order: 3 })).toBe(
    "--order is for models with Gaussian noise, which this one does not know; leave it out.",
  );
  for (const setting of ["eta=1", "clamp=true", "noiseTemperature=0.5", "solverMethod=singlestep"])
    expect(message("masked", set(setting))).toContain(
      `--set generation.${setting.split("=")[0]} is for models`,
    );
  expect(message("moe-diffuseq", { order: 3 })).toContain("give --sampler dpm-solver++ with it");
  expect(message("moe-diffuseq", { order: 3, sampler: "dpm-solver++" })).toBe("");
  expect(message("moe-diffuseq", set("eta=1"))).toContain("give --sampler ddim with it");
  expect(message("moe-diffuseq", set("eta=1", "sampler=ddim", "noiseTemperature=0.5", "clamp=true"))).toBe(
    "",
  );
  expect(message("moe-diffuseq", { release: "entropy" })).toBe("");
  expect(message("moe-diffuseq", { release: "entropy" }, "diffusion.absorbRate=0")).toContain(
    "an absorbing state",
  );
  for (const flags of [{ temperature: 0 }, { topK: 3 }, set("topP=0.5")]) {
    expect(message("diffuseq", flags)).toContain("is for tokens that are drawn");
    expect(message("diffuseq-v2", flags)).toBe("");
    expect(message("autoregressive", flags)).toBe("");
  }
  expect(message("autoregressive", { release: "entropy" })).toContain("not for a left-to-right model");
  expect(message("autoregressive", { release: "left-to-right" })).toBe("");
  for (const flags of [{ steps: 8 }, { cacheInterval: 2 }, set("timeGrid=uniform")])
    expect(message("autoregressive", flags)).toContain("which writes a token a step");
});

it("takes what a configuration says as it is", () => {
  expect(
    message("masked", {}, "generation.eta=1", "generation.contextLength=8", "generation.select=bound"),
  ).toBe("");
});
