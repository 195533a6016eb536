/**
 * @file Is the caller's thread free while a model trains? Trains `bench-small` on the embedded corpus with every thread busy and
 * reports the longest times the caller's event loop stood still: in steps, while validating, while saving. The aim is under 50 ms.
 *
 *   npx tsx bench/event-loop.ts [--preset moe-diffuseq] [--steps 20] [--threads N]
 *
 * Preparing (texts, tokenizer, graphs) comes before and does not count.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { median } from "../src/benchmark/statistics.js";
import { configFromLayers, findPreset, type PartialRunConfig } from "../src/config/index.js";
import { type TrainEvent, train } from "../src/training/index.js";

const { values: flags } = parseArgs({
  options: {
    preset: { type: "string", default: "moe-diffuseq" },
    steps: { type: "string", default: "20" },
    threads: { type: "string", default: String(availableParallelism()) },
  },
});
const steps = Number(flags.steps);
const { preset: _, ...sizes } = JSON.parse(
  readFileSync(new URL("../configs/bench-small.json", import.meta.url), "utf8"),
) as PartialRunConfig & { preset: string };
const config = configFromLayers([
  { name: "preset", config: findPreset(flags.preset).config },
  { name: "bench-small", config: sizes },
  {
    name: "event-loop",
    config: {
      training: { maxSteps: steps, evalEvery: Math.ceil(steps / 2), checkpointEvery: Math.ceil(steps / 2) },
    },
  },
]);

/** Longest gap in milliseconds by what was going on, and how often one was over 50. */
const gaps = new Map<string, { longest: number; over: number; count: number }>();
let phase = "preparing";
let last = performance.now();
const timer = setInterval(() => {
  const now = performance.now();
  const found = gaps.get(phase) ?? { longest: 0, over: 0, count: 0 };
  const gap = now - last;
  gaps.set(phase, {
    longest: Math.max(found.longest, gap),
    over: found.over + Number(gap >= 50),
    count: found.count + 1,
  });
  last = now;
}, 1);

const times: number[] = [];
let began = 0;
const phases: Record<TrainEvent["kind"], string> = {
  preparing: "preparing",
  ready: "first step",
  step: "steps",
  profile: "the profile",
  validating: "validating",
  validation: "saving",
  checkpoint: "steps",
  notice: "steps",
};
const folder = mkdtempSync(join(tmpdir(), "event-loop-"));
try {
  await train({
    config,
    out: join(folder, "run"),
    threads: Number(flags.threads),
    onEvent: (event) => {
      if (event.kind === "step" && phase === "steps") times.push(performance.now() - began);
      began = performance.now();
      phase = phases[event.kind];
    },
  });
} finally {
  clearInterval(timer);
  rmSync(folder, { recursive: true });
}
console.log(
  `${flags.preset}, ${flags.threads} threads: median step ${median(times).toFixed(0)} ms, ` +
    `load ${loadavg()[0].toFixed(1)}`,
);
for (const [name, { longest, over }] of gaps)
  if (name !== "preparing")
    console.log(`  ${name.padEnd(10)} longest gap ${longest.toFixed(1)} ms, ${over} of 50 ms or more`);
process.exitCode = (gaps.get("steps")?.longest ?? 0) < 50 ? 0 : 1;
