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
import { afterAll, describe, expect, it } from "vitest";
import { resolveConfig } from "../config/resolve.js";
import type { RunConfig } from "../config/run-config.js";
import { UserError } from "../errors.js";
import { makeFolder } from "../hub/durable-file.js";
import { readSafetensors } from "../hub/safetensors.js";
import { saveCheckpoint } from "./checkpoint.js";
import { checkBudget, checkResumable, checkUnchanged, lastingSettings } from "./resume-config.js";
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

it("keeps what was edited in generation_config.json, but for what a resume asks for", async () => {
  const path = join(base, "edited");
  await RunDirectory.create(path, config);
  const file = join(path, "generation_config.json");
  const edited = '{"length": 77,\n\n"topK": 5}';
  const resumed = async (...sets: string[]) => {
    // As `train --resume` has it: config.json, with what is set over it.
    const wanted = resolveConfig({ base: join(path, "config.json"), sets });
    const run = (await RunDirectory.open(path)).withConfig(wanted);
    await run.writeConfig();
    return run.config.generation;
  };
  writeFileSync(file, edited);
  expect(await resumed("training.maxSteps=5")).toEqual({ ...config.generation, length: 77, topK: 5 });
  expect(readFileSync(file, "utf8")).toBe(edited);
  const asked = { ...config.generation, length: 77, topK: 6, steps: 3 };
  expect(await resumed("generation.topK=6", "generation.steps=3")).toEqual(asked);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ length: 77, topK: 6, steps: 3 });
  expect((await RunDirectory.open(path)).config.generation).toEqual(asked);
  // Asked for once more, it is no other setting than before; and without the file, config.json has what was asked for.
  expect(await resumed("generation.topK=6")).toEqual(asked);
  rmSync(file);
  const { length } = config.generation;
  expect(await resumed()).toEqual({ ...asked, length });
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ ...asked, length });
  writeFileSync(file, '{"lenght": 77}');
  await expect(RunDirectory.open(path)).rejects.toThrow(/generation_config.json: .*generation.length/);
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
  const none = join(base, "none");
  await expect(RunDirectory.open(none)).rejects.toThrow(
    `${none} is not the directory of a run: expected the directory of a trained run, found nothing there; pass what \`train --out\` wrote.`,
  );
  writeFileSync(join(base, "file"), "");
  await expect(RunDirectory.open(join(base, "empty"), "Say so.")).rejects.toThrow(
    "found no config.json in it; pass what `train --out` wrote. Say so.",
  );
  await expect(RunDirectory.open(join(base, "file"), "Say so.")).rejects.toThrow(
    /file is not the .* found a file; pass what `train --out` wrote\.$/,
  );
  for (const inside of ["config.json", "checkpoints"]) {
    mkdirSync(join(path, "checkpoints"), { recursive: true });
    await expect(RunDirectory.open(join(path, inside))).rejects.toThrow(`pass ${path}, whose it is.`);
  }
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

it("with a configuration that is not UTF-8 is refused", async () => {
  const path = join(base, "latin");
  await RunDirectory.create(path, config);
  writeFileSync(join(path, "generation_config.json"), Buffer.from('{"select": "\xe9"}', "latin1"));
  await expect(RunDirectory.open(path)).rejects.toThrow(
    /generation_config.json: expected UTF-8 text, got another/,
  );
});

describe("that was killed before its first checkpoint", () => {
  const other = resolveConfig({ preset: "masked", sets: ["model.numLayers=3"] });
  const vocabulary = { save: async (folder: string) => writeFileSync(join(folder, "tokenizer.json"), "{}") };
  async function killed(name: string, log = '{"kind":"train","step":20}\n') {
    const path = join(base, name);
    const run = await RunDirectory.create(path, config);
    await run.writeTokenizer(vocabulary);
    writeFileSync(run.metricsPath, log);
    writeFileSync(run.dataPath, "{}");
    mkdirSync(join(path, "checkpoints", ".tmp-step-00000200-1"), { recursive: true });
    return path;
  }

  it("is begun anew, with other settings", async () => {
    const path = await killed("anew");
    expect(await RunDirectory.untrained(path)).toEqual(config);
    await RunDirectory.create(path, other, { anew: true });
    expect((await RunDirectory.open(path)).config).toEqual(other);
    expect(readdirSync(join(path, "checkpoints"))).toEqual([]);
  });

  it("stays as it was where the new start fails", async () => {
    const path = await killed("kept-killed");
    const edited = '{"topK": 5}';
    writeFileSync(join(path, "generation_config.json"), edited);
    const files = readdirSync(path);
    const before = files.map((name) => name !== "checkpoints" && readFileSync(join(path, name), "utf8"));
    await (await RunDirectory.create(path, other, { anew: true })).withdraw();
    expect(readdirSync(path)).toEqual(files);
    expect(files.map((name) => name !== "checkpoints" && readFileSync(join(path, name), "utf8"))).toEqual(
      before,
    );
    rmSync(join(path, "generation_config.json"));
    await (await RunDirectory.create(path, other, { anew: true })).withdraw();
    expect(readdirSync(path)).not.toContain("generation_config.json");
    expect((await RunDirectory.open(path)).config).toEqual(config);
  });

  it("keeps a vocabulary that was there before it", async () => {
    const path = mkdtempSync(join(base, "own-vocabulary-"));
    writeFileSync(join(path, "tokenizer.json"), "mine");
    await RunDirectory.create(path, { ...config, data: { ...config.data, tokenizer: path } });
    await expect(RunDirectory.create(path, other, { anew: true })).rejects.toThrow(
      "holds a file tokenizer.json",
    );
    expect(readFileSync(join(path, "tokenizer.json"), "utf8")).toBe("mine");
  });

  it("is none where there is something to lose", async () => {
    const refuse = (path: string) =>
      expect(RunDirectory.create(path, other, { anew: true })).rejects.toThrow(
        /holds a run already. Pass --resume/,
      );
    const model = await killed("with-model");
    writeFileSync(join(model, "model.safetensors"), "");
    await refuse(model);
    // Its first checkpoint was at step 200: it has been taken away.
    await refuse(await killed("late", '{"kind":"train","step":20}\n{"kind":"train","step":210}\n'));
    const checkpoint = await killed("with-checkpoint");
    const state = { step: 9, tokens: 9, seconds: 9, seed: 7, row: 9, timeSampler: {} };
    await saveCheckpoint(checkpoint, state, new MemoryStore());
    await refuse(checkpoint);
    const damaged = await killed("damaged");
    writeFileSync(join(damaged, "config.json"), "{");
    await refuse(damaged);
  });
});

it("takes back all that it can of a start that failed, without an error of its own", async () => {
  const path = join(base, "stubborn");
  const run = await RunDirectory.create(path, config);
  rmSync(join(path, "config.json"));
  mkdirSync(join(path, "config.json", "full"), { recursive: true }); // cannot be removed as a file
  writeFileSync(run.metricsPath, "");
  await run.withdraw();
  expect(readdirSync(path)).toEqual(["config.json"]);
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

it("refuses a budget that is asked for and used up already", () => {
  const wanted = (...sets: string[]) => resolveConfig({ preset: "masked", sets });
  const state = { step: 6, tokens: 600, seconds: 90 };
  const check = (before: string[], now: string[]) => checkBudget(wanted(...before), wanted(...now), state);
  const steps = (n: number) => `training.maxSteps=${n}`;
  check([steps(6)], [steps(6)]); // its own: what was left undone is done
  check([steps(6)], [steps(7)]);
  check([steps(6)], ["training.maxMinutes=2"]);
  expect(() => check([steps(9)], [steps(6)])).toThrow(
    "The run has trained 6 of the 6 steps of --max-steps already: a budget counts from the beginning of the run, what came before " +
      "a resume included. Give a larger --max-steps to go on; nothing has been changed.",
  );
  expect(() => check([], ["training.maxMinutes=1"])).toThrow("1.5 of the 1 minutes of --max-minutes already");
  // The one it was given first has run out.
  expect(() => check([steps(6)], [steps(6), "training.maxMinutes=9"])).toThrow("6 of the 6 steps");
  expect(() => check([], [steps(1), "training.maxTokens=600"])).toThrow(
    "6 of the 1 steps of --max-steps and 600 of the 600 tokens of --max-tokens already",
  );
});

it("is not the run of a checkpoint when its settings were changed since, but for those that may change", () => {
  const wanted = (...sets: string[]) =>
    resolveConfig({ preset: "masked", sets: ["model.numLayers=2", ...sets] });
  const checkpoint = { step: 6, seed: config.training.seed, settings: lastingSettings(config) };
  const check = (other: RunConfig, from: Parameters<typeof checkUnchanged>[0] = checkpoint) =>
    checkUnchanged(from, other, "run/config.json");
  check(wanted("training.maxSteps=9", "generation.length=7", 'data.train=["elsewhere"]'));
  expect(lastingSettings(wanted("training.maxSteps=9", "generation.length=7"))).toEqual(checkpoint.settings);
  expect(() => check(wanted("training.learningRate=0.25", "model.attention.window=3"))).toThrow(
    `run/config.json was changed since the checkpoint of step 6 was made with it: model.attention.window was ${config.model.attention.window} and is 3, ` +
      `training.learningRate was ${config.training.learningRate} and is 0.25. Bring back the file as it was to continue`,
  );
  // An older checkpoint knows its seed alone; one of another version may lack settings.
  const older = { step: 6, seed: checkpoint.seed };
  check(wanted("training.learningRate=0.25"), older);
  expect(() => check(wanted("training.seed=99"), older)).toThrow(
    `training.seed was ${older.seed} and is 99.`,
  );
  const { dropout: _, ...model } = checkpoint.settings.model as { dropout: number };
  const lacking = { ...checkpoint, settings: { ...checkpoint.settings, model } };
  check(config, lacking);
  expect(() => check(wanted("model.dropout=0.5"), lacking)).toThrow("model.dropout was");
});
