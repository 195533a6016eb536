import { expect, it } from "vitest";
import { resolveConfig } from "../config/resolve.js";
import { type GivenText, generationSettings, givenSettings } from "./generation-settings.js";
import type { Flags } from "./options.js";

const messageFor = (text: GivenText, preset: string, flags: Flags, ...sets: string[]): string => {
  try {
    generationSettings(resolveConfig({ preset, sets }), flags, text);
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};
const message = (preset: string, flags: Flags, ...sets: string[]): string =>
  messageFor({ conditioned: true }, preset, flags, ...sets);
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

it("refuses cuts where nothing is drawn, as at temperature 0", () => {
  const why =
    "is for tokens that are drawn, and at temperature 0 the likeliest are taken; give --temperature";
  expect(message("masked", { temperature: 0, topK: 5 })).toContain(`--top-k ${why}`);
  expect(message("masked", { topP: 0.5, ...set("temperature=0") })).toContain(`--top-p ${why}`);
  expect(message("masked", set("topK=5"), "generation.temperature=0")).toContain(
    `--set generation.topK ${why}`,
  );
  expect(message("masked", { temperature: 0.1, topK: 5 }, "generation.temperature=0")).toBe("");
  // What a model has by default is no matter of this call.
  expect(message("masked", { temperature: 0 }, "generation.topK=5", "generation.topP=0.5")).toBe("");
});

it("refuses guidance towards nothing, and a length of gaps that have their own", () => {
  const free = { conditioned: false };
  expect(messageFor(free, "masked", { guidance: 3 })).toContain(
    "give --src, --prompt, --suffix or --infill with it",
  );
  expect(messageFor(free, "masked", { guidance: 1 }, "generation.guidance=3")).toBe("");
  expect(messageFor(free, "masked", { steps: 4 }, "generation.guidance=3")).toBe("");
  expect(message("masked", { guidance: 3 })).toBe("");
  const template = { conditioned: true, template: true };
  expect(messageFor(template, "masked", set("length=5"))).toBe(
    "--set generation.length is not for a template (--infill), whose gaps say how long they are; leave it out.",
  );
  expect(messageFor(template, "masked", { length: 5 })).toContain("--length is not for a template");
  expect(messageFor(template, "masked", {}, "generation.length=5")).toBe("");
});

it("refuses blocks before given text, and one text written often", () => {
  const closed = { conditioned: true, openEnd: false };
  for (const flags of [{ contextLength: 8 }, { untilEnd: true }])
    expect(messageFor(closed, "masked", { blockLength: 8, ...flags })).toContain(
      "here text is given behind a gap; leave it out",
    );
  expect(messageFor(closed, "masked", { blockLength: 8 }, "generation.contextLength=8")).toBe("");
  for (const flags of [{ num: 3 }, { candidates: 2 }]) {
    expect(message("autoregressive", { ...flags, temperature: 0 })).toContain("give --temperature above 0");
    expect(message("autoregressive", { ...flags, temperature: 0.5 })).toBe("");
    expect(message("masked", { ...flags, temperature: 0 })).toBe("");
  }
  expect(message("autoregressive", { num: 1, temperature: 0 })).toBe("");
});

it("takes settings however they are written", () => {
  const flags = { steps: 4, set: [" generation.topK = 3", 'generation={"topP":0.5,"seed":7}'] };
  expect([...givenSettings(flags)]).toEqual([
    ["topK", "--set generation.topK"],
    ["topP", "--set generation.topP"],
    ["seed", "--set generation.seed"],
    ["steps", "--steps"],
  ]);
  expect(generationSettings(resolveConfig(), flags, { conditioned: false })).toMatchObject({
    ...{ steps: 4, topK: 3, topP: 0.5, seed: 7 },
  });
  expect(message("masked", { set: ['generation={"contextLength":8}'] })).toContain("is for texts in blocks");
  expect(message("masked", { set: ['model={"numLayers":2}'] })).toContain(
    "only generation.* can be set here",
  );
});

it("takes what a configuration says as it is", () => {
  expect(
    message("masked", {}, "generation.eta=1", "generation.contextLength=8", "generation.select=bound"),
  ).toBe("");
});
