/** @file Nothing is lost: whatever ends a training process, the run goes on from its directory and ends in the same bits. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { prepareCache } from "../data/index.js";
import { temporaryFolder } from "../hub/testing/temporary-folder.js";
import { endOf, killRuns, startTraining, traceOf } from "./testing/kill-runs.js";
import { tinyRunConfig, writeCorpus } from "./testing/tiny-run.js";
import { train } from "./trainer.js";

async function configFrom(folder: string) {
  const cache = join(folder, "cache");
  await prepareCache({ data: [writeCorpus(folder)], vocabSize: 320, out: cache, shardBytes: 2000 });
  return tinyRunConfig(cache, "moe-diffuseq", {
    training: { maxSteps: 14, checkpointEvery: 2, evalEvery: 5 },
  });
}

it("kill -9 at random moments, again and again: the same log, weights and moments", async () => {
  const folder = temporaryFolder();
  const report = await killRuns(await configFrom(folder), folder, { kills: 6, seed: 11 });
  expect(report).toMatchObject({ kills: 6, differing: [], failures: [] });
  expect(new Set(report.stepsAtKill).size).toBeGreaterThan(1);
}, 240_000);

it("a write that fails: a message; the run goes on where it was", async () => {
  const folder = temporaryFolder();
  const config = await configFrom(folder);
  const [whole, out] = [join(folder, "whole"), join(folder, "run")];
  await train({ config, out: whole, threads: 1 });
  // No file may be longer than 50 KiB: the moments of the first checkpoint are.
  const { code, errors } = await endOf(await startTraining(config, out, "ulimit -f 50"));
  expect(code).toBe(1);
  expect(errors).toMatch(
    /^Cannot write .*step-00000002: the file is larger than the file system allows; write somewhere else with --out\.\n$/,
  );
  expect(readdirSync(join(out, "checkpoints"))).toEqual([]);
  await train({ config, out, threads: 1, resume: true });
  expect(traceOf(out)).toEqual(traceOf(whole));
});
