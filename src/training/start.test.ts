/** @file How a run begins: stopped or refused before its first step, nothing has changed. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { PartialRunConfig } from "../config/index.js";
import { openFilesUnder } from "../hub/testing/open-files.js";
import { temporaryFolder } from "../hub/testing/temporary-folder.js";
import { readMetrics } from "./metrics-log.js";
import { RunDirectory } from "./run-directory.js";
import { tinyRunConfig, writeCorpus } from "./testing/tiny-run.js";
import { type TrainEvent, type TrainOptions, type TrainSummary, train } from "./trainer.js";

let folder = "";
let corpus = "";
beforeAll(() => {
  folder = temporaryFolder();
  corpus = writeCorpus(folder);
});
const run = (out: string, training: PartialRunConfig["training"], options: Partial<TrainOptions> = {}) =>
  train({ config: tinyRunConfig(corpus, "masked", { training }), out, threads: 1, ...options });

/** Stops when `at` says so. */
function stopAt(at: (event: TrainEvent) => boolean): Partial<TrainOptions> {
  const controller = new AbortController();
  const onEvent = (event: TrainEvent) => {
    if (at(event)) controller.abort(new Error("stop"));
  };
  return { signal: controller.signal, onEvent };
}

describe("a run that is resumed", () => {
  it("keeps what was edited in generation_config.json, and takes what it is asked for", async () => {
    const out = join(folder, "edited");
    await run(out, { maxSteps: 1 });
    const file = join(out, "generation_config.json");
    const edited = { ...JSON.parse(readFileSync(file, "utf8")), length: 77, topK: 5 };
    writeFileSync(file, JSON.stringify(edited));
    expect(await run(out, { maxSteps: 2 }, { resume: true })).toMatchObject({ steps: 2 });
    expect(readFileSync(file, "utf8")).toBe(JSON.stringify(edited));
    const asked = { training: { maxSteps: 3 }, generation: { topK: 6 } };
    const config = tinyRunConfig(corpus, "masked", asked);
    expect(await train({ config, out, threads: 1, resume: true })).toMatchObject({ steps: 3 });
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ ...edited, topK: 6 });
  });

  it("validates anew where it is given other validation texts, or more of them", async () => {
    const [out, one, other] = [join(folder, "validated"), join(folder, "one"), join(folder, "other")];
    for (const at of [one, other]) mkdirSync(at);
    writeCorpus(one);
    writeFileSync(join(other, "texts.jsonl"), `${'{"text":"0123456789 0123456789 0123456789"}\n'.repeat(9)}`);
    const resume = (
      valid: string,
      training: PartialRunConfig["training"],
      more: Partial<TrainOptions> = {},
    ) => {
      const config = tinyRunConfig(corpus, "masked", { data: { valid: [valid] }, training });
      return train({ config, out, threads: 1, resume: true, ...more });
    };
    const first = await resume(one, { maxSteps: 4 }, { resume: false });
    const lossOf = (summary: TrainSummary) => summary.validation!.loss;
    // Step 4 is one to validate at, and is: the texts have only moved.
    const moved = join(folder, "moved");
    cpSync(one, moved, { recursive: true });
    expect(lossOf(await resume(moved, { maxSteps: 4 }))).toBe(lossOf(first));
    const log = join(out, "metrics.jsonl");
    const valid = () => readMetrics(log).filter((line) => line.kind === "valid");
    expect(valid()).toHaveLength(1);
    const others = await resume(other, { maxSteps: 4 });
    expect(others).toMatchObject({ steps: 4, loss: null });
    expect(lossOf(others)).not.toBe(lossOf(first));
    expect(valid().map((line) => line.texts)).toEqual([first.validation!.texts, others.validation!.texts]);
    expect(others.validation!.texts).toMatch(/^[0-9a-f]{12}$/);
    expect((await resume(other, { maxSteps: 4, evalSequences: 1 })).validation).toMatchObject({
      sequences: 1,
    });
    // What was measured before is found again.
    expect(lossOf(await resume(one, { maxSteps: 4 }))).toBe(lossOf(first));
    expect(valid()).toHaveLength(3);
  });

  it("validates anew where its log is of the first rows of the texts, as it was once", async () => {
    const out = join(folder, "first-rows");
    const { validation } = await run(out, { maxSteps: 4 });
    const log = join(out, "metrics.jsonl");
    const before = readMetrics(log).map(({ texts: _, ...line }) =>
      line.kind === "valid" ? { ...line, loss: 99 } : line,
    );
    writeFileSync(log, before.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const resumed = await run(out, { maxSteps: 4 }, { resume: true });
    expect(resumed.validation!.loss).toBe(validation!.loss);
    const valid = readMetrics(log).filter((line) => line.kind === "valid");
    expect(valid.map(({ loss, texts }) => [loss, texts])).toEqual([
      [99, undefined],
      [validation!.loss, expect.stringMatching(/^[0-9a-f]{12}$/)],
    ]);
  });

  it("writes damaged or missing weights to use anew from its checkpoint at once, and says so", async () => {
    const out = join(folder, "weights");
    await run(out, { maxSteps: 2 });
    const model = join(out, "model.safetensors");
    const whole = readFileSync(model);
    const notices: string[] = [];
    const weights: Buffer[] = [];
    const onEvent = (event: TrainEvent) => {
      if (event.kind === "notice") notices.push(event.message);
      if (event.kind === "step") weights.push(readFileSync(model));
    };
    truncateSync(model, whole.length - 7);
    await run(out, { maxSteps: 2 }, { resume: true, onEvent });
    expect(readFileSync(model)).toEqual(whole);
    rmSync(model);
    await run(out, { maxSteps: 3 }, { resume: true, onEvent });
    expect(weights).toEqual([whole]); // before the checkpoint of step 3
    expect(notices).toEqual([
      expect.stringMatching(
        `^${model} is cut short: expected ${whole.length} bytes, got ${whole.length - 7} \\(7 missing, from tensor ".*" on\\). ` +
          "It is written anew from the checkpoint of step 2.$",
      ),
      `${model} is missing. It is written anew from the checkpoint of step 2.`,
    ]);
  });

  it("refuses a budget that it has used up, and keeps the one it has", async () => {
    const out = join(folder, "budget");
    await run(out, { maxSteps: 3 });
    const before = readFileSync(join(out, "config.json"), "utf8");
    await expect(run(out, { maxSteps: 2 }, { resume: true })).rejects.toThrow(
      "The run has trained 3 of the 2 steps of --max-steps already",
    );
    await expect(run(out, { maxSteps: 9, maxMinutes: 1e-9 }, { resume: true })).rejects.toThrow(
      /of the 1e-9 minutes of --max-minutes already/,
    );
    expect(readFileSync(join(out, "config.json"), "utf8")).toBe(before);
    expect(await run(out, { maxSteps: 4 }, { resume: true })).toMatchObject({ steps: 4 });
  });

  it("that has no checkpoint says how it is begun anew with other settings, and is", async () => {
    const out = join(folder, "no-checkpoint");
    await RunDirectory.create(out, tinyRunConfig(corpus, "masked"));
    const training = { learningRate: 0.5, maxSteps: 1 };
    await expect(run(out, training, { resume: true })).rejects.toThrow(
      "these differ: training.learningRate. Leave them out to continue, or leave out --resume: it was stopped before its first " +
        "checkpoint, and begins anew.",
    );
    const notices: string[] = [];
    const onEvent = (event: TrainEvent) => void (event.kind === "notice" && notices.push(event.message));
    expect(await run(out, training, { onEvent })).toMatchObject({ steps: 1 });
    expect(notices).toEqual([
      `${out} held a run that was stopped before its first checkpoint: it is begun anew.`,
    ]);
    await expect(run(out, training)).rejects.toThrow(/holds a run already/);
  });

  it("keeps its vocabulary: another is refused, the same at another place is not", async () => {
    const out = join(folder, "vocabulary");
    await run(out, { maxSteps: 1 });
    const before = readFileSync(join(out, "config.json"), "utf8");
    const resume = (tokenizer: string) => {
      const config = tinyRunConfig(corpus, "masked", { data: { tokenizer }, training: { maxSteps: 2 } });
      return train({ config, out, threads: 1, resume: true });
    };
    const [same, other] = [join(folder, "same.json"), join(folder, "other.json")];
    cpSync(join(out, "tokenizer.json"), same);
    const json = JSON.parse(readFileSync(same, "utf8"));
    const merges = [json.model.merges[1], json.model.merges[0], ...json.model.merges.slice(2)];
    writeFileSync(other, JSON.stringify({ ...json, model: { ...json.model, merges } }));
    await expect(resume(join(folder, "nowhere.json"))).rejects.toThrow("nowhere.json");
    await expect(resume(other)).rejects.toThrow(
      `data.tokenizer: ${other} has another vocabulary than ${join(out, "tokenizer.json")}`,
    );
    expect(readFileSync(join(out, "config.json"), "utf8")).toBe(before);
    expect(await resume(same)).toMatchObject({ steps: 2 });
  });

  it.skipIf(process.platform !== "linux")("that cannot begin leaves no file open", async () => {
    const out = join(folder, "unmendable");
    await run(out, { maxSteps: 1 });
    const model = join(out, "model.safetensors");
    rmSync(model);
    mkdirSync(model);
    await expect(run(out, { maxSteps: 2 }, { resume: true })).rejects.toThrow(model);
    expect(openFilesUnder(out)).toEqual([]);
  });

  it("refuses a config.json that was changed since its checkpoint, and changes nothing", async () => {
    const out = join(folder, "changed");
    await run(out, { maxSteps: 1 });
    const file = join(out, "config.json");
    const whole = readFileSync(file, "utf8");
    const changed = JSON.parse(whole);
    changed.training.learningRate = 0.5;
    changed.training.maxSteps = 2;
    writeFileSync(file, JSON.stringify(changed));
    await expect(train({ config: changed, out, threads: 1, resume: true })).rejects.toThrow(
      /config.json was changed since the checkpoint of step 1 .*: training.learningRate was .* and is 0.5. Bring back/,
    );
    expect(readFileSync(file, "utf8")).toBe(JSON.stringify(changed));
    writeFileSync(file, whole);
    expect(await run(out, { maxSteps: 2 }, { resume: true })).toMatchObject({ steps: 2 });
  });
});

describe("a run that is stopped before its first step", () => {
  it.each([
    ["when its graphs are built", (event: TrainEvent) => event.kind === "ready", {}],
    [
      "while it profiles",
      (event: TrainEvent) => event.kind === "preparing" && event.what === "profiling a step",
      { profile: true },
    ],
  ])("takes its directory back, %s", async (_, at, options) => {
    const out = join(folder, `stopped-${Object.keys(options).length}`);
    await expect(run(out, { maxSteps: 2 }, { ...stopAt(at), ...options })).rejects.toThrow("stop");
    expect(existsSync(out)).toBe(false);
  });

  it("resumed, stays what it was", async () => {
    const out = join(folder, "resumed");
    await run(out, { maxSteps: 1 });
    const files = ["config.json", "data.json", "metrics.jsonl", "model.safetensors"];
    const before = files.map((name) => readFileSync(join(out, name)));
    for (const kind of ["preparing", "ready"])
      await expect(
        run(out, { maxSteps: 3 }, { resume: true, ...stopAt((event) => event.kind === kind) }),
      ).rejects.toThrow("stop");
    expect(files.map((name) => readFileSync(join(out, name)))).toEqual(before);
    expect(await run(out, { maxSteps: 3 }, { resume: true })).toMatchObject({ steps: 3 });
  });

  it("a profile is no training: the clock starts after it", async () => {
    const out = join(folder, "profiled");
    let profiled = 0;
    const onEvent = (event: TrainEvent) => {
      if (event.kind === "profile") profiled = performance.now();
    };
    const summary = await run(out, { maxSteps: 1 }, { profile: true, onEvent });
    const since = (performance.now() - profiled) / 1000;
    expect(summary.seconds).toBeGreaterThan(0);
    expect(summary.seconds).toBeLessThanOrEqual(since);
    expect(readMetrics(join(out, "metrics.jsonl"))[0]).toMatchObject({ step: 1 });
  });

  it("conditions cannot be left out where nothing is given; in gaps something is", async () => {
    const out = join(folder, "unconditional");
    const start = (data: PartialRunConfig["data"]) => {
      const own = { diffusion: { conditionDropout: 0.1 }, data, training: { maxSteps: 1 } };
      return train({ config: tinyRunConfig(corpus, "masked", own), out, threads: 1 });
    };
    await expect(start({})).rejects.toThrow(
      "diffusion.conditionDropout: expected 0, got 0.1; it leaves out what is given, and these texts give nothing",
    );
    expect(existsSync(out)).toBe(false);
    expect(await start({ gapRate: 0.5 })).toMatchObject({ steps: 1 });
  });

  it("a damaged start leaves nothing of a vocabulary either", async () => {
    const [top, wrong] = [join(folder, "wrong"), join(folder, "wrong.jsonl")];
    writeFileSync(wrong, "{}\n");
    const refused = () =>
      expect(
        train({ config: tinyRunConfig(wrong, "masked"), out: join(top, "runs", "one"), threads: 1 }),
      ).rejects.toThrow(/wrong\.jsonl:1/);
    await refused();
    expect(existsSync(top)).toBe(false);
    mkdirSync(join(top, "runs"), { recursive: true });
    await refused();
    expect(readdirSync(join(top, "runs"))).toEqual([]);
  });
});
