/** @file Whole runs: they learn, they continue to the last bit after any kind of stop, and they say what went wrong. */
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { type PartialRunConfig, type PresetName, presetNames, type RunConfig } from "../config/index.js";
import { lockFolder } from "../hub/folder-lock.js";
import { readSafetensors } from "../hub/safetensors.js";
import { temporaryFolder } from "../hub/testing/temporary-folder.js";
import { readMetrics } from "./metrics-log.js";
import { lossesOf, stopAfter, weightsOf } from "./testing/run-outcome.js";
import { tinyRunConfig, writeCorpus } from "./testing/tiny-run.js";
import { type TrainEvent, type TrainOptions, train } from "./trainer.js";

const corpus = writeCorpus(temporaryFolder());
const configOf = (preset: PresetName = "moe-diffuseq", extra: PartialRunConfig = {}) =>
  tinyRunConfig(corpus, preset, extra);
const outFolder = () => join(temporaryFolder(), "run");
const run = (config: RunConfig, out: string, options: Partial<TrainOptions> = {}) =>
  train({ config, out, threads: 1, ...options });

/** A run of six steps, done. */
const six = configOf("masked", { training: { maxSteps: 6 } });
const done = outFolder();
beforeAll(() => run(six, done));
function copyOfDone(): string {
  const out = outFolder();
  cpSync(done, out, { recursive: true });
  return out;
}

describe("a training run", () => {
  it.each(presetNames)(
    "%s: equal seeds give equal runs; the loss falls; the directory is complete",
    async (preset) => {
      const config = configOf(preset, { training: { maxSteps: 12, learningRate: 1e-2 } });
      const [a, b] = [outFolder(), outFolder()];
      const first = await run(config, a);
      await run(config, b, { threads: 2 });
      expect(lossesOf(b)).toEqual(lossesOf(a));
      expect(await weightsOf(b)).toEqual(await weightsOf(a));
      expect(first).toMatchObject({ steps: 12, tokens: 12 * 96, interrupted: false });
      const lines = readMetrics(join(a, "metrics.jsonl"));
      const valid = lines.filter((line) => line.kind === "valid").map((line) => line.loss as number);
      expect(valid.at(-1)).toBeLessThan(valid[0]);
      for (const file of ["config.json", "tokenizer.json", "model.safetensors", "generation_config.json"])
        expect(existsSync(join(a, file)), file).toBe(true);
      expect(readdirSync(join(a, "checkpoints"))).toEqual(["step-00000009", "step-00000012"]);
    },
  );

  it.each([
    [
      "self-conditioning, dropout and accumulation",
      { model: { selfConditioning: true, dropout: 0.1 }, training: { gradientAccumulation: 2 } },
    ],
    [
      "loss-aware times without averaging",
      { diffusion: { timeSampler: "loss-aware" }, training: { emaDecay: null } },
    ],
  ] satisfies [string, PartialRunConfig][])(
    "%s: stopping by signal and resuming continues to the last bit",
    async (_name, extra) => {
      const config = configOf("moe-diffuseq", extra);
      const [whole, parts] = [outFolder(), outFolder()];
      await run(config, whole);
      // At a validation (step 4) and between two; a checkpoint is due at neither.
      for (const last of [4, 7, 99]) {
        const summary = await run(config, parts, { resume: last > 4, ...stopAfter(last) });
        expect(summary.interrupted).toBe(last !== 99);
        expect(summary.steps).toBe(Math.min(last, 10));
      }
      expect(lossesOf(parts)).toEqual(lossesOf(whole));
      expect(await weightsOf(parts)).toEqual(await weightsOf(whole));
    },
  );

  it("stopping during a validation ends the run at once, saved; the one that goes on makes up for it", async () => {
    const parts = outFolder();
    for (const last of [4, 6, null]) {
      const controller = new AbortController();
      let step = 0;
      const summary = await run(six, parts, {
        resume: last !== 4,
        signal: controller.signal,
        onEvent: (event) => {
          if (event.kind === "step" || event.kind === "checkpoint")
            step = event.kind === "step" ? event.metrics.step : event.step;
          if (event.kind === "validating" && step === last) controller.abort();
        },
      });
      expect(summary).toMatchObject({ steps: last ?? 6, interrupted: last !== null });
      expect(lossesOf(parts).some((line) => line.kind === "valid" && line.step === last)).toBe(false);
      expect(readdirSync(join(parts, "checkpoints"))).toContain(`step-0000000${last ?? 6}`);
    }
    expect(lossesOf(parts)).toEqual(lossesOf(done));
  });

  it("stopping before the first step takes the directory back", async () => {
    const [out, controller] = [outFolder(), new AbortController()];
    const onEvent = (event: TrainEvent) => {
      if (event.kind === "preparing" && event.what === "counting tokens") controller.abort(new Error("stop"));
    };
    await expect(run(configOf("masked"), out, { signal: controller.signal, onEvent })).rejects.toThrow(
      "stop",
    );
    expect(existsSync(out)).toBe(false);
  });

  it("a larger budget continues a finished run; other settings are refused", async () => {
    const out = copyOfDone();
    const more = await run(configOf("masked", { training: { maxSteps: 8 } }), out, { resume: true });
    expect(more.steps).toBe(8);
    await expect(
      run(configOf("masked", { training: { learningRate: 1 } }), out, { resume: true }),
    ).rejects.toThrow(/training.learningRate/);
    await expect(run(configOf("masked"), out)).rejects.toThrow(/holds a run already/);
  });

  it("a loss that is not finite names step and cause; the checkpoint before it has finite numbers", async () => {
    const out = outFolder();
    // An infinite learning rate in effect: the next loss is out of the float range.
    const wild = { learningRate: 1e30, maxGradNorm: null, checkpointEvery: 1, evalEvery: 100 };
    const training = { maxSteps: 40, ...wild };
    const message = await run(configOf("masked", { training }), out).catch((error: Error) => error.message);
    expect(message).toMatch(/Step \d+: .*not finite.*another --out/);
    const newest = readdirSync(join(out, "checkpoints")).sort().at(-1)!;
    expect(message).toContain(`The checkpoint of step ${Number(newest.slice("step-".length))} is kept`);
    const { tensors } = await readSafetensors(join(out, "checkpoints", newest, "model.safetensors"));
    for (const [name, { data }] of Object.entries(tensors))
      expect((data as Float32Array).every(Number.isFinite), name).toBe(true);
    for (const line of readMetrics(join(out, "metrics.jsonl"))) expect(line.loss).not.toBeNull();
  });

  it("a damaged newest checkpoint is named and the one before it offered", async () => {
    const out = copyOfDone();
    truncateSync(join(out, "checkpoints", "step-00000006", "optimizer.safetensors"), 100);
    const config = configOf("masked", { training: { maxSteps: 8 } });
    await expect(run(config, out, { resume: true })).rejects.toThrow(
      /step-00000006 is damaged[\s\S]*step 3 is whole/,
    );
    const summary = await run(config, out, { resume: true, fallback: true });
    expect(summary.steps).toBe(8);
  });

  it("one process at a time is at work in a run, and it leaves nothing of its lock", async () => {
    const out = outFolder();
    const config = configOf("masked", { training: { maxSteps: 100_000 } });
    const controller = new AbortController();
    let second: Promise<unknown> | null = null;
    const { steps } = await run(config, out, {
      signal: controller.signal,
      onEvent: (event) => {
        if (event.kind !== "step" || second) return;
        second = run(config, out, { resume: true }).catch((error: Error) => error.message);
        second.finally(() => controller.abort());
      },
    });
    expect(await second).toMatch(
      /run is in use by another process \(\d+ on .*\). Wait for it to end, or stop it/,
    );
    expect(readdirSync(out).filter((name) => name.startsWith("."))).toEqual([]);
    const more = configOf("masked", { training: { maxSteps: steps + 1 } });
    await expect(run(more, out, { resume: true })).resolves.toMatchObject({ steps: steps + 1 });
  });

  it("resuming that is refused changes nothing: not the configuration, not a model without checkpoints", async () => {
    const out = copyOfDone();
    const [before, model] = ["config.json", "model.safetensors"].map((name) => readFileSync(join(out, name)));
    const nowhere = configOf("masked", { data: { train: [join(temporaryFolder(), "nowhere.jsonl")] } });
    await expect(run(nowhere, out, { resume: true })).rejects.toThrow(/expected a file or folder/);
    const other = configOf("masked", { data: { train: [writeCorpus(temporaryFolder()), corpus] } });
    await expect(run(other, out, { resume: true })).rejects.toThrow(/The run began with/);
    expect(readFileSync(join(out, "config.json"))).toEqual(before);
    rmSync(join(out, "checkpoints"), { recursive: true });
    const more = configOf("masked", { training: { maxSteps: 8 } });
    await expect(run(more, out, { resume: true })).rejects.toThrow(/trained model but no checkpoint/);
    expect(readFileSync(join(out, "model.safetensors"))).toEqual(model);
  });

  it("a run inside of what it reads is refused, before anything is written", async () => {
    const texts = temporaryFolder();
    writeCorpus(texts);
    const config = configOf("masked", { data: { train: [texts] }, training: { maxSteps: 1 } });
    await expect(run(config, join(texts, "runs", "mine"))).rejects.toThrow(
      /lies in .*whose files are read as texts/,
    );
    expect(existsSync(join(texts, "runs"))).toBe(false);
    await expect(run(config, join(texts, ".runs", "mine"))).resolves.toMatchObject({ steps: 1 });
  });

  it("says what is missing: a budget, a run to resume, documents", async () => {
    const config = configOf();
    const unbounded = { ...config, training: { ...config.training, maxSteps: null } };
    await expect(run(unbounded, outFolder())).rejects.toThrow(/needs a budget/);
    await expect(run(config, outFolder(), { resume: true })).rejects.toThrow(/not the directory of a run/);
  });

  it("a start that fails leaves nothing in the way of the next", async () => {
    const wrong = configOf("masked", { data: { train: [join(temporaryFolder(), "nowhere.jsonl")] } });
    const right = configOf("masked", { training: { maxSteps: 1 } });
    const [fresh, used] = [outFolder(), temporaryFolder()];
    writeFileSync(join(used, "notes.txt"), "mine");
    for (const out of [fresh, used])
      await expect(run(wrong, out)).rejects.toThrow(/expected a file or folder/);
    expect(existsSync(fresh)).toBe(false);
    expect(readdirSync(used)).toEqual(["notes.txt"]);
    const late = (event: TrainEvent) => {
      if (event.kind === "preparing" && event.what === "building the graphs") throw new Error("late");
    };
    await expect(run(right, used, { onEvent: late })).rejects.toThrow("late");
    await expect(run(right, used)).resolves.toMatchObject({ steps: 1 });
  });

  it("texts that lie in --out under the name of a run's file stay", async () => {
    const out = temporaryFolder();
    const own = join(out, "data.json");
    writeFileSync(own, '{"text":"too little"}\n');
    const config = configOf("masked", { data: { train: [own] } });
    await expect(run(config, out)).rejects.toThrow(
      /holds a file data.json, .* Give --out a folder of its own/,
    );
    expect(readdirSync(out)).toEqual(["data.json"]);
    expect(readFileSync(own, "utf8")).toBe('{"text":"too little"}\n');
  });

  it("of two starts at once, the one that comes too late touches nothing", async () => {
    const out = temporaryFolder();
    const lock = await lockFolder(out);
    writeFileSync(join(out, "metrics.jsonl"), "the first one's");
    const before = readdirSync(out);
    await expect(run(configOf("masked"), out)).rejects.toThrow(/in use by another process/);
    expect(readdirSync(out)).toEqual(before);
    await lock.release();
  });
});
