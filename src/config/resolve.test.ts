import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { configFields } from "./fields.js";
import { settingFields } from "./layers.js";
import { presetNames } from "./presets.js";
import { type ResolveOptions, resolveConfig } from "./resolve.js";
import { runConfigSchema } from "./run-config.js";

const folder = mkdtempSync(join(tmpdir(), "config-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(text: string): string {
  const path = join(folder, "my.json");
  writeFileSync(path, text);
  return path;
}

function fault(options: Parameters<typeof resolveConfig>[0]): string {
  try {
    resolveConfig(options);
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as Error).message;
  }
  throw new Error("expected a UserError");
}

describe("resolveConfig", () => {
  it("starts from moe-diffuseq", () => {
    expect(resolveConfig().preset).toBe("moe-diffuseq");
    expect(resolveConfig()).toEqual(resolveConfig({ preset: "moe-diffuseq" }));
  });

  it("refuses what would be nothing in the arithmetic of the model", () => {
    expect(fault({ sets: ["training.epsilon=1e-39"] })).toMatch(
      /training\.epsilon: expected .*at least 1\.1754943508222875e-38/,
    );
    expect(resolveConfig({ sets: ["training.epsilon=1.2e-38"] }).training.epsilon).toBe(1.2e-38);
  });

  it("lets presets yield to the file, the file to --set, --set to flags", () => {
    const configFile = file('{"preset": "masked", "model": {"numLayers": 2, "attention": {"window": 32}}}');
    const config = resolveConfig({
      configFile,
      sets: ["model.numLayers=3", "training.maxSteps=10"],
      overrides: { training: { maxSteps: 20 } },
    });
    expect(config.preset).toBe("masked");
    expect(config.diffusion.gaussian).toBe(false);
    expect(config.model.attention).toMatchObject({ window: 32, globalTokens: 16 });
    expect(config.model.numLayers).toBe(3);
    expect(config.training.maxSteps).toBe(20);
  });

  it("lets --preset win over the file's", () => {
    const configFile = file('{"preset": "masked"}');
    expect(resolveConfig({ configFile, preset: "diffuseq" }).preset).toBe("diffuseq");
    // As the overrides' does, which are the caller's own.
    const overrides = { preset: "diffuseq-v2", model: { numLayers: 2 } } as const;
    expect(resolveConfig({ configFile, overrides })).toEqual(
      resolveConfig({ preset: "diffuseq-v2", sets: ["model.numLayers=2"] }),
    );
    expect(resolveConfig({ preset: "diffuseq", overrides }).preset).toBe("diffuseq");
    expect(fault({ configFile: file('{"preset": 3}') })).toContain(
      "preset: expected the name of a preset, got 3",
    );
    expect(fault({ overrides: { training: { logEvery: 0 } } })).toMatch(/^overrides: training\.logEvery/);
  });

  it("reads values of --set as JSON where they are JSON, else as text", () => {
    const config = resolveConfig({
      sets: [
        "diffusion.schedule=cosine",
        "model.attention.dilation=[1,1,2,4]",
        "training.maxGradNorm=null",
        "data.tokenizer=a=b.json",
        "model.attention.layers.1.full=true",
      ],
    });
    expect(config.diffusion.schedule).toBe("cosine");
    expect(config.model.attention.dilation).toEqual([1, 1, 2, 4]);
    expect(config.model.attention.layers).toEqual({ 1: { full: true } });
    expect(config.training.maxGradNorm).toBeNull();
    expect(config.data.tokenizer).toBe("a=b.json");
  });

  it("is a fixed point: a resolved configuration resolves to itself", () => {
    for (const preset of presetNames) {
      const config = resolveConfig({ preset });
      expect(resolveConfig({ configFile: file(JSON.stringify(config)) })).toEqual(config);
      expect(runConfigSchema.parse(config)).toEqual(config);
    }
  });

  it.each([
    ["model.window=3", '--set: unknown key "model.window"; did you mean "model.attention.window"?'],
    ["model.nope=1", '--set: unknown key "model.nope"; model has vocabSize, embeddingSize, '],
    ["model.attention.zzz=1", 'unknown key "model.attention.zzz"; model.attention has window, dilation, '],
    ["nope=1", '--set: unknown key "nope"; a configuration has preset, model, diffusion'],
    ["training.numLayer=1", 'did you mean "model.numLayers"?'],
    ["model.numheads=3", '--set: unknown key "model.numheads"; did you mean "model.numHeads"?'],
    ["trainin.seed=3", '--set: unknown key "trainin"; did you mean "training"?'],
    ["model.attention.layers.1.ful=1", 'did you mean "model.attention.layers.1.full"?'],
    ["__proto__.x=1", '--set: unknown key "__proto__"'],
    ["model.numHeads=four", '--set: model.numHeads: expected a whole number, got "four".'],
    ["diffusion.gaussian=1", "--set: diffusion.gaussian: expected true or false, got 1."],
    ["diffusion.schedule=cosin", 'one of "sqrt", "cosine", "linear", got "cosin"; did you mean "cosine"?'],
    ["training.maxSteps=0", "--set: training.maxSteps: expected at least 1, got 0."],
    ["training.maxSteps=1e400", "--set: training.maxSteps: expected a whole number, got Infinity."],
    ["diffusion.noiseScale=-1e400", "--set: diffusion.noiseScale: expected a number, got -Infinity."],
    [
      "model.attention.dilation=[1e400]",
      'model.attention.dilation: expected a whole number, or a list of them, got ["Infinity"]',
    ],
    ["training.sequenceLength=9000000000000000", "expected at most 16777216, got 9000000000000000."],
    ["model.numHeads=1e17", "--set: model.numHeads: expected at most 4096, got 100000000000000000."],
    ["diffusion.absorbRate=2", "--set: diffusion.absorbRate: expected at most 1, got 2."],
    [
      "model.attention.dilation=x",
      '--set: model.attention.dilation: expected a whole number, or a list of them, got "x"',
    ],
    ["model.attention.layers.0.full=3", "model.attention.layers.0.full: expected true or false, got 3."],
    ['model.attention.layers.0.window="a"', 'layers.0.window: expected a whole number, got "a".'],
    [
      "model.attention.layers.0.dilation=x",
      'layers.0.dilation: expected a whole number, or a list of them, got "x" (step between',
    ],
    ["model.attention.layers.0=3", "layers.0: expected an object of settings, got 3."],
    ["data.train=[5]", "--set: data.train.0: expected text, got 5."],
    ['data.train=["a",""]', '--set: data.train.1: expected text that is not empty, got "".'],
    ["model.attention.layers.x.full=true", "keys are layer numbers, counted from 0"],
    ["model.attention.layers.01.full=true", "keys are layer numbers, counted from 0, without leading zeros"],
    ["preset=masked", "Pass --preset masked instead"],
    ["data.train=a.txt", '--set: data.train: expected a list such as ["a", "b"], got "a.txt".'],
    ["model=3", "--set: model: expected an object of settings, got 3."],
    ["numLayers", "--set expects path=value"],
  ])("refuses --set %s", (setting, message) => {
    expect(fault({ sets: [setting] })).toContain(message);
  });

  it.each([
    [
      "moe-diffuseq",
      "model.numHeads=3",
      "model.hiddenSize: must be a multiple of model.numHeads (3), got 256",
    ],
    ["moe-diffuseq", "model.hiddenSize=12", "rotary positions turn pairs, so it must be even"],
    ["moe-diffuseq", "model.inputConvolution=2", "must be odd"],
    ["moe-diffuseq", "model.experts.topK=9", "must be at most numExperts (8), got 9"],
    ["moe-diffuseq", "model.attention.textGlobals=source", "must be at least 1 when textGlobals"],
    ["moe-diffuseq", "model.attention.dilation=[1,2]", "needs one entry per head (4), got 2"],
    ["moe-diffuseq", 'model.attention.layers={"4":{"full":true}}', "the last of 4 is 3"],
    ["moe-diffuseq", "model.prediction=embedding", 'must be "mixture" with codebook "fixed"'],
    ["moe-diffuseq", "diffusion.mseWeight=1", 'must be 0 with model.codebook "fixed"'],
    ["diffuseq", "model.prediction=mixture", 'must be 0 with model.prediction "mixture"'],
    ["diffuseq", "model.embeddingNorm=none", "the posterior mean takes codes to be of one length"],
    ["masked", "diffusion.ceWeight=0", "must be above 0: text is read from the logits"],
    ["diffuseq", "diffusion.ceWeight=0", "must be above 0: text is read from the logits"],
    ["diffuseq", "diffusion.mseWeight=0", 'must be above 0 with model.prediction "embedding"'],
    ["diffuseq", "model.inputDecoding=none diffusion.mseWeight=0", "nothing else teaches x0"],
    ["moe-diffuseq", "diffusion.lossWeighting=elbo", "unless diffusion.gaussian is false"],
    ["moe-diffuseq", "training.sequenceLength=16", "must be more than model.attention.globalTokens (16)"],
    ["masked", "diffusion.absorbRate=0.5", "must be 1 when gaussian is false"],
    ["masked", "model.inputDecoding=posterior-mean", 'must be "none" when diffusion.gaussian is false'],
    ["autoregressive", "model.attention.causal=false", "a token may depend on those before it alone"],
    [
      "autoregressive",
      "model.experts.numExperts=4 model.experts.capacityFactor=1",
      'model.experts.capacityFactor: must be null with diffusion.objective "next-token": a token may depend on those before it alone',
    ],
  ])("checks fields against each other: %s with %s", (preset, settings, message) => {
    expect(fault({ preset, sets: settings.split(" ") })).toContain(message);
  });

  it("takes what would not do where it plays no part", () => {
    const dense = resolveConfig({ preset: "autoregressive", sets: ["model.experts.capacityFactor=1"] });
    expect(dense.model.experts).toMatchObject({ numExperts: 0, capacityFactor: 1 });
    const masked = resolveConfig({ preset: "masked", sets: ["model.prediction=embedding"] });
    expect(masked.diffusion.mseWeight).toBe(0);
  });

  it("says what came, however deeply it is nested", () => {
    const nested = `data.train=${"[".repeat(20_000)}${"]".repeat(20_000)}`;
    expect(fault({ sets: [nested] })).toBe("--set: data.train.0: expected text, got [object Array].");
  });

  it("bounds every number that lists are made of", () => {
    // Counters and seeds, of which nothing is made.
    const unbounded =
      /\.(seed|evalSequences|keepCheckpoints|max(Steps|Tokens)|\w+Every|backwardPieces|cacheInterval)$/;
    const huge = Number.MAX_SAFE_INTEGER;
    for (const { path, type } of configFields()) {
      if (!/^integer/.test(type) || unbounded.test(path)) continue;
      const setting = `${path.replace(".N.", ".0.")}=${huge}`;
      expect(fault({ sets: [setting] }), setting).toMatch(
        /expected (at most \d+|a whole number, or a list of them), got/,
      );
    }
  });

  it("lists all faults at once", () => {
    const message = fault({ sets: ["model.numLayers=x", "data.tain=[]"] });
    expect(message).toContain("2 faults");
    expect(message).toContain("model.numLayers");
    expect(message).toContain('did you mean "data.train"?');
  });

  it("names file, line and column of broken JSON, and the file of a wrong value", () => {
    const broken = file('{\n  "model": {\n    "numLayers": 2,,\n}}');
    expect(fault({ configFile: broken })).toContain(`${broken}:3:20: not valid JSON`);
    const wrong = file('{"model": {"nmLayers": 2}}');
    expect(fault({ configFile: wrong })).toBe(
      `${wrong}: unknown key "model.nmLayers"; did you mean "model.numLayers"?`,
    );
    expect(fault({ configFile: file("[1]") })).toContain("expected an object of settings, got [1]");
    expect(fault({ configFile: join(folder, "none.json") })).toContain("there is no such file");
    expect(fault({ configFile: folder })).toBe(
      `Cannot read the configuration ${folder}: it is a folder, not a file.`,
    );
    const latin = file("");
    writeFileSync(latin, Buffer.from('{"data": {"train": ["caf\xe9.txt"]}}', "latin1"));
    expect(fault({ configFile: latin })).toBe(
      `the configuration ${latin}: expected UTF-8 text, got another encoding; convert it (iconv -f latin1 -t utf-8).`,
    );
  });

  it("starts from the configuration of a run, and keeps its preset", () => {
    const base = file(JSON.stringify(resolveConfig({ preset: "masked", sets: ["model.numLayers=2"] })));
    const config = resolveConfig({ base, sets: ["training.maxSteps=9"] });
    expect(config).toMatchObject({ preset: "masked", model: { numLayers: 2 }, training: { maxSteps: 9 } });
    expect(resolveConfig({ base, preset: "masked" }).preset).toBe("masked");
    expect(fault({ base, preset: "diffuseq" })).toContain("was made from preset masked");
  });

  it("leaves out what is undefined, so that it does not hide what stands below", () => {
    const overrides = { training: { learningRate: undefined, seed: 7 }, diffusion: undefined };
    const { training, diffusion } = resolveConfig({ preset: "diffuseq", overrides });
    const preset = resolveConfig({ preset: "diffuseq" });
    expect(training).toEqual({ ...preset.training, seed: 7 });
    expect(training.learningRate).toBe(5e-4);
    expect(diffusion).toEqual(preset.diffusion);
    // Nor is it blamed for what a layer below says.
    const blamed = { sets: ["model.numLayers=x"], overrides: { model: { numLayers: undefined } } };
    expect(fault(blamed)).toMatch(/^--set: model\.numLayers: expected a whole number/);
  });

  it("refuses options that it does not know, and what is no preset", () => {
    const wrong = (options: object) => fault(options as ResolveOptions);
    expect(wrong({ override: {} })).toBe('resolveConfig: unknown key "override"; did you mean "overrides"?');
    expect(wrong({ presets: "masked" })).toContain('unknown key "presets"; did you mean "preset"?');
    expect(wrong({ preset: 5 })).toBe("resolveConfig: preset: expected the name of a preset, got 5.");
    expect(fault("masked" as unknown as ResolveOptions)).toContain(
      "resolveConfig: expected an object such as",
    );
  });

  it.each([
    [{ configFile: 5 }, "configFile: expected the path of a JSON file, got 5."],
    [{ base: {} }, "base: expected the path of a config.json, got {}."],
    [{ sets: "a=1" }, 'sets: expected a list of settings such as ["model.numLayers=6"], got "a=1".'],
    [{ sets: [1] }, 'sets: expected a list of settings such as ["model.numLayers=6"], got [1].'],
    [
      { overrides: null },
      "overrides: expected an object of settings such as { model: { numLayers: 6 } }, got null.",
    ],
    [{ overridesName: 1 }, "overridesName: expected what messages call the overrides, got 1."],
  ])("refuses an option of the wrong kind: %j", (options, message) => {
    expect(fault(options as unknown as ResolveOptions)).toBe(`resolveConfig: ${message}`);
  });

  it("names the nearest preset", () => {
    expect(fault({ preset: "diffuseqv2" })).toContain('did you mean "diffuseq-v2"?');
    expect(fault({ preset: "toString" })).toContain('There is no preset "toString"');
  });

  it("reads the reference configuration", () => {
    const { model, training } = resolveConfig({ configFile: "configs/bench-small.json" });
    expect(model).toMatchObject({
      vocabSize: 8192,
      hiddenSize: 256,
      embeddingSize: 128,
      numLayers: 4,
      numHeads: 4,
    });
    expect(model.experts).toMatchObject({ numExperts: 8, topK: 2, intermediateSize: 512 });
    expect(training.batchSize * training.sequenceLength).toBe(4096);
  });
});

describe("settingFields", () => {
  it("gives the fields of a setting, however it is written", () => {
    expect(settingFields(" training.seed = 7")).toEqual([{ path: "training.seed", value: 7 }]);
    expect(settingFields('training={"seed":7,"maxSteps":null}')).toEqual([
      { path: "training.seed", value: 7 },
      { path: "training.maxSteps", value: null },
    ]);
    expect(settingFields('model.attention={"layers":{"1":{"full":true}},"dilation":[1,2]}')).toEqual([
      { path: "model.attention.layers.1.full", value: true },
      { path: "model.attention.dilation", value: [1, 2] },
    ]);
    expect(settingFields("generation={}")).toEqual([]);
    expect(settingFields("data.tokenizer=a=b.json")).toEqual([{ path: "data.tokenizer", value: "a=b.json" }]);
    expect(() => settingFields("numLayers")).toThrow("--set expects path=value");
  });
});

describe("presets", () => {
  it("are the corners of one process", () => {
    const diffuseq = resolveConfig({ preset: "diffuseq" });
    expect(diffuseq.diffusion).toMatchObject({
      absorbRate: 0,
      gaussian: true,
      schedule: "sqrt",
      mseWeight: 1,
    });
    expect(diffuseq.model).toMatchObject({
      absorbingState: "zero",
      normPlacement: "post",
      codebook: "learned",
    });
    expect(diffuseq.model.attention).toMatchObject({ full: true, globalTokens: 0 });
    expect(diffuseq.model.experts.numExperts).toBe(0);
    const v2 = resolveConfig({ preset: "diffuseq-v2" });
    expect(v2.diffusion.absorbRate).toBe(0.5);
    expect(v2.model).toEqual({ ...diffuseq.model, absorbingState: "learned" });
    const masked = resolveConfig({ preset: "masked" });
    expect(masked.diffusion).toMatchObject({ absorbRate: 1, gaussian: false, schedule: "linear" });
    expect(masked.model.timeConditioning).toBe(false);
  });
});

describe("configFields", () => {
  it("describes every field", () => {
    expect(configFields().filter((field) => field.description === "")).toEqual([]);
    expect(configFields().find((field) => field.path === "model.attention.window")).toEqual({
      path: "model.attention.window",
      description: "positions a query sees on each side of itself",
      type: "integer",
      default: 128,
    });
  });
});
