/**
 * @file A training process for tests that kill it: `tsx train-child.ts <config.json> <out> [resume]`; prints a line when its work begins
 * and a line a step. A mistake of the user is its message and code 1.
 */
import { readFileSync } from "node:fs";
import { runConfigSchema } from "../../config/index.js";
import { UserError } from "../../errors.js";
import { train } from "../trainer.js";

const [configPath, out, resume] = process.argv.slice(2);
process.stdout.write("begun\n");
try {
  await train({
    config: runConfigSchema.parse(JSON.parse(readFileSync(configPath, "utf8"))),
    out,
    resume: resume === "resume",
    threads: 1,
    onEvent: (event) => {
      if (event.kind === "step") process.stdout.write(`step ${event.metrics.step}\n`);
    },
  });
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
