import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { resolveConfig } from "../config/resolve.js";
import type { RunConfig } from "../config/run-config.js";
import { UserError } from "../errors.js";
import { makeFolder } from "../hub/durable-file.js";
import { readSafetensors } from "../hub/safetensors.js";
import { checkResumable } from "./resume-config.js";
import { RunDirectory } from "./run-directory.js";
import { MemoryStore } from "./testing/memory-store.js";

const base = mkdtempSync(join(tmpdir(), "run-"));
afterAll(() => rmSync(base, { recursive: true }));
const config = resolveConfig({ preset: "masked", sets: ["model.numLayers=2"] });

async function saved({ modelPath }: RunDirectory) {
  const { tensors } = await readSafetensors(modelPath);
  return Object.fromEntries(Object.entries(tensors).map(([name, { data }]) => [name, data]));
}

it("keeps the configuration, and the generation defaults beside it", async () => {
  const path = join(base, "deep", "run");
  await RunDirectory.create(path, config);
  expect((await RunDirectory.open(path)).config).toEqual(config);
  expect(JSON.parse(readFileSync(join(path, "generation_config.json"), "utf8"))).toEqual(config.generation);
  const longer = resolveConfig({ preset: "masked", sets: ["model.numLayers=2", "training.maxSteps=5"] });
  await (await RunDirectory.open(path)).withConfig(longer).writeConfig();
  expect((await RunDirectory.open(path)).config.training.maxSteps).toBe(5);
});

it("keeps the weights to use: averages of what is trained, values of what is not", async () => {
  const run = await RunDirectory.create(join(base, "weights"), config);
  const store = new MemoryStore();
  const [value, ema] = [await store.read("value"), await store.read("ema")];
  await run.saveModel(store);
  expect(await saved(run)).toEqual({ ...ema, "router.bias": value["router.bias"] });
  await run.saveModel(store, { ema: false });
  expect(await saved(run)).toEqual(value);
});

it("is not made where a run is, and not opened where none is", async () => {
  const path = join(base, "twice");
  await RunDirectory.create(path, config);
  await expect(RunDirectory.create(path, config)).rejects.toThrow(/holds a run already. Pass --resume/);
  mkdirSync(join(base, "empty"));
  await expect(RunDirectory.open(join(base, "empty"))).rejects.toThrow("is not the directory of a run");
  writeFileSync(join(base, "file"), "");
  await expect(RunDirectory.open(join(base, "file"))).rejects.toThrow(UserError);
  await expect(RunDirectory.create(join(base, "file"), config)).rejects.toThrow(UserError);
  writeFileSync(join(path, "config.json"), '{"model": {"numLayer": 2}}');
  await expect(RunDirectory.open(path)).rejects.toThrow('did you mean "model.numLayers"?');
});

it("is not made where it would write over files, but for the vocabulary it uses, which stays as it is", async () => {
  for (const name of ["data.json", "metrics.jsonl", "tokenizer.json", "model.safetensors"]) {
    const path = mkdtempSync(join(base, "others-"));
    writeFileSync(join(path, name), "mine");
    await expect(RunDirectory.create(path, config)).rejects.toThrow(
      `holds a file ${name}, which is no run's`,
    );
    expect(readdirSync(path)).toEqual([name]);
  }
  const path = mkdtempSync(join(base, "vocabulary-"));
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) writeFileSync(join(path, name), "mine");
  for (const tokenizer of [path, join(path, "tokenizer.json")]) {
    const run = await RunDirectory.create(path, { ...config, data: { ...config.data, tokenizer } });
    await run.writeTokenizer({ save: () => Promise.reject(new Error("written over")) });
    const resumed = (await RunDirectory.open(path)).withConfig(run.config);
    await resumed.writeTokenizer({ save: () => Promise.reject(new Error("written over")) });
    await resumed.withdraw();
    expect(readdirSync(path)).toEqual(["tokenizer.json", "tokenizer_config.json"]);
    expect(readFileSync(join(path, "tokenizer_config.json"), "utf8")).toBe("mine");
  }
});

it("in a place that cannot be looked at is a message", async () => {
  const loop = join(base, "loop");
  symlinkSync(loop, loop);
  await expect(RunDirectory.create(join(loop, "run"), config)).rejects.toThrow(/links lead in a circle/);
  await expect(RunDirectory.open(join(loop, "run"))).rejects.toThrow(
    /Cannot read .*config.json: .*links lead in a circle/,
  );
  await expect(makeFolder(join(loop, "run"))).rejects.toThrow(/links in the path lead in a circle/);
});

it("that cannot be written whole is no run", async () => {
  const path = join(base, "half");
  const broken = {
    data: config.data,
    toJSON: () => config,
    get generation(): never {
      throw new Error("late");
    },
  } as unknown as RunConfig;
  await expect(RunDirectory.create(path, broken)).rejects.toThrow("late");
  expect(readdirSync(path)).toEqual([]);
});

it("resumes with another budget, but not as another model", () => {
  const wanted = (sets: string[]) =>
    resolveConfig({ preset: "masked", sets: ["model.numLayers=2", ...sets] });
  checkResumable(config, wanted(["training.maxSteps=9", "generation.length=7", 'data.train=["elsewhere"]']));
  expect(() => checkResumable(config, wanted(["training.seed=9", "model.attention.window=3"]))).toThrow(
    "these differ: model.attention.window, training.seed.",
  );
});
