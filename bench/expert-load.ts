/**
 * @file How even the loads of a run's experts were, read from its `metrics.jsonl`.
 *
 *   npx moe-diffuseq train --max-steps 1200 --set training.logEvery=1 ... --out runs/x;   npx tsx bench/expert-load.ts runs/x
 *
 * For stretches of training steps, a layer at a time: the largest load over the mean (a) in single steps, on average and at worst, and
 * (b) of all those steps together. Then the same in each validation (averaged weights), over all rows and by quarters of the noise level.
 */
import { join } from "node:path";
import type { ExpertUse } from "../src/diffusion/expert-use.js";
import { readMetrics } from "../src/training/metrics-log.js";

const STRETCH = 200;
const lines = readMetrics(join(process.argv[2], "metrics.jsonl"));
const steps = lines.filter(({ kind }) => kind === "train");
const loadsOf = (line: (typeof lines)[number]) => line.expertLoad as number[][];
const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

for (let start = 0; start < steps.length; start += STRETCH) {
  const part = steps.slice(start, start + STRETCH).map(loadsOf);
  const layers = part[0].map((experts, layer) => {
    const largest = part.map((loads) => Math.max(...loads[layer]));
    const together = Math.max(...experts.map((_, e) => mean(part.map((loads) => loads[layer][e]))));
    const numbers = [mean(largest), Math.max(...largest), together].map((x) => x.toFixed(2));
    return `layer ${layer}: single ${numbers[0]} (worst ${numbers[1]}), together ${numbers[2]}`;
  });
  console.log(`steps ${steps[start].step}-${steps[start + part.length - 1].step}  ${layers.join("   ")}`);
}
for (const line of lines.filter(({ kind }) => kind === "valid")) {
  const { load, layers, times, dead } = line.experts as ExpertUse;
  const all = load.map((experts) => Math.max(...experts).toFixed(2)).join(" ");
  const by = layers.map((levels) => levels.map((use) => Math.max(...use.load).toFixed(2)).join(" "));
  console.log(`validation at ${line.step}: ${all}, dead ${dead}; t = ${times.join(" ")}: ${by.join(" | ")}`);
}
