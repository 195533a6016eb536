/** @file `moe-diffuseq bench`: what is wrong with the command line is said before anything is started. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../../hub/testing/temporary-folder.js";
import { runCommandLine } from "../program.js";
import { memoryTerminal } from "../testing/memory-terminal.js";

/** A Python that is not there: it would be the first fault to be found if it were looked for. */
const python = join(temporaryFolder(), "python");

async function bench(...args: string[]) {
  const terminal = memoryTerminal();
  const code = await runCommandLine(["bench", "--python", python, ...args], terminal);
  return { code, err: terminal.stderr.text };
}

it.each([
  [["--twins", "dense"], "--twins: expected some of moe-diffuseq, "],
  [["--tasks", "writing"], "--tasks: expected some of training, sampling"],
  [["--variants", "fast"], "--variants: expected some of eager, "],
  [["--set", "model.numLayer=3"], 'did you mean "model.numLayers"?'],
  [
    ["--set", "training.batchSize=3"],
    "--set training.batchSize: a benchmark decides this itself; give --tokens",
  ],
  [
    ["--set", 'training={"sequenceLength":64}'],
    "--set training.sequenceLength: a benchmark decides this itself",
  ],
  [["--set", "training.gradientAccumulation=2"], "--set training.gradientAccumulation: a benchmark decides"],
  [["--set", "generation.steps=8"], "give --sampling-steps instead"],
  [
    ["--set", "generation.sampler=ddim"],
    "--set generation.sampler: a benchmark decides this itself; leave it",
  ],
  [["--set", "model.dropout=0.1"], "--set model.dropout: a benchmark decides this itself; leave it"],
  [["--set", "generation.cacheInterval=4"], `--python: there is no ${python}`],
  [["--tasks", "training", "--sampling-steps", "20"], `--python: there is no ${python}`],
])("%j", async (args, message) => {
  const { code, err } = await bench(...args);
  expect(code).toBe(1);
  expect(err).toContain(message);
});
