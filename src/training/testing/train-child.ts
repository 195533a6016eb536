/** @file A training process for tests that kill it: `tsx train-child.ts <config.json> <out> [resume]`; prints a line a step. */
import { readFileSync } from "node:fs";
import { runConfigSchema } from "../../config/index.js";
import { train } from "../trainer.js";

const [configPath, out, resume] = process.argv.slice(2);
await train({
  config: runConfigSchema.parse(JSON.parse(readFileSync(configPath, "utf8"))),
  out,
  resume: resume === "resume",
  threads: 1,
  onEvent: (event) => {
    if (event.kind === "step") process.stdout.write(`step ${event.metrics.step}\n`);
  },
});
