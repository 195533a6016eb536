/** @file How a run begins: stopped or refused before its first step, nothing has changed. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { PartialRunConfig } from "../config/index.js";
import { temporaryFolder } from "../hub/testing/temporary-folder.js";
import { readMetrics } from "./metrics-log.js";
import { tinyRunConfig, writeCorpus } from "./testing/tiny-run.js";
import { type TrainEvent, type TrainOptions, train } from "./trainer.js";

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

  it("a damaged start leaves nothing of a vocabulary either", async () => {
    const [out, wrong] = [join(folder, "wrong"), join(folder, "wrong.jsonl")];
    writeFileSync(wrong, "{}\n");
    await expect(train({ config: tinyRunConfig(wrong, "masked"), out, threads: 1 })).rejects.toThrow(
      /wrong\.jsonl:1/,
    );
    expect(existsSync(out)).toBe(false);
  });
});
