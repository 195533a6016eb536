/**
 * @file Nothing is lost, at length: kills training processes at 50 random moments (kill -9) and compares the log, the weights, the averages
 * and the moments of every run with those of one that nobody killed. Ends with code 1 when any bit differs.
 *
 *     npx tsx bench/kill.ts [--kills 50] [--seed 1] [--preset moe-diffuseq]
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { PresetName } from "../src/config/index.js";
import { prepareCache } from "../src/data/index.js";
import { killRuns } from "../src/training/testing/kill-runs.js";
import { tinyRunConfig, writeCorpus } from "../src/training/testing/tiny-run.js";

const { values: flags } = parseArgs({
  options: {
    kills: { type: "string", default: "50" },
    seed: { type: "string", default: "1" },
    preset: { type: "string", default: "moe-diffuseq" },
  },
});
const folder = mkdtempSync(join(tmpdir(), "moe-diffuseq-"));
const cache = join(folder, "cache");
await prepareCache({ data: [writeCorpus(folder)], vocabSize: 320, out: cache, shardBytes: 2000 });
const config = tinyRunConfig(cache, flags.preset as PresetName, {
  training: { maxSteps: 40, checkpointEvery: 3, evalEvery: 7 },
});
const report = await killRuns(config, folder, {
  kills: Number(flags.kills),
  seed: Number(flags.seed),
  onKill: (done) => process.stderr.write(`\r${done} of ${flags.kills} kills`),
});
const { kills, runs, differing, failures, stepsAtKill } = report;
console.log(
  `\n${kills} kills of ${runs} runs of 40 steps, at steps ${stepsAtKill.join(" ")}\n` +
    `${failures.length} runs could not be resumed, ${differing.length} ended in other bytes`,
);
for (const line of [...failures, ...differing]) console.log(line);
rmSync(folder, { recursive: true });
process.exitCode = failures.length + differing.length > 0 ? 1 : 0;
