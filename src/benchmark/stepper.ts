/**
 * @file Runs a workload in a process of its own, so that its memory is that of the work and nothing else. Reads one command a line from
 * standard input and answers with one line of JSON; ends with its input. bench/peers/denoiser.py speaks the same.
 *
 *   {"command": "steps", "count": 5}                  -> {"milliseconds": [...], "cpuMilliseconds": [...], "losses": [...]}
 *   {"command": "sample", "count": 1, "steps": 20}    -> {"milliseconds": [...]}
 *   {"command": "gradients", "path": "gradients.bin"} -> {"loss": 9.01}       writes them, unclipped, without an update
 *   {"command": "memory"}                             -> {"peakBytes": 1073741824}
 *   {"command": "reset"}                              -> {"bytes": 314572800}   memory now; the peak is counted from here (Linux)
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import type { RunConfig } from "../config/index.js";
import { createDevice, type DeviceKind, type Executable } from "../runtime/index.js";
import { DiffusionModel, generate } from "../sampling/index.js";
import { peakBytes, restartPeak } from "./process-memory.js";
import { pairTokenizer } from "./synthetic-tokenizer.js";
import { workload } from "./workload.js";

export interface StepperOptions {
  readonly config: RunConfig;
  /** Default 1. */
  readonly documents?: number;
  readonly threads: number;
  /** Default "cpu". */
  readonly device?: DeviceKind;
  /** What the process is for. Default "training". */
  readonly task?: "training" | "sampling";
}

interface Command {
  readonly command: "steps" | "sample" | "gradients" | "memory" | "reset";
  readonly count: number;
  readonly steps: number;
  readonly path: string;
}

const options = JSON.parse(process.argv[2]) as StepperOptions;
const { config, documents, threads, task = "training" } = options;
const { definitions, values, module, feeds, optimiser } = workload(config, documents);
const device = await createDevice(options.device ?? "cpu", { threads });
const specs = definitions.map(({ name, shape, trainable }) => ({ name, shape, trainable }));
const parameters = await device.createParameters(specs, { training: task === "training" });
await parameters.write("value", values);
let program: Executable | null = null;
let model: DiffusionModel | null = null;
if (task === "training") program = await device.compile(module);
else
  model = new DiffusionModel({
    config,
    tokenizer: pairTokenizer(config.model.vocabSize),
    device,
    parameters,
  });

let step = 0;
async function gradients(): Promise<number> {
  if (!program) throw new Error("this process samples; start one for training");
  const wanted = Object.fromEntries(program.program.inputs.map(({ name }) => [name, feeds[name]]));
  await parameters.zeroGradients();
  const { loss } = await program.run(wanted, { parameters });
  return Number(loss.data[0]);
}

/** Writes one text that fills a row, learned globals included. */
async function sample(steps: number): Promise<void> {
  if (!model) throw new Error("this process trains; start one for sampling");
  const { attention } = config.model;
  const sampler = config.diffusion.gaussian ? "dpm-solver++" : "auto";
  await generate(
    model,
    {},
    {
      length: config.training.sequenceLength - attention.globalTokens,
      steps,
      sampler,
      earlyStop: "off",
    },
  );
}

async function answer({ command, count, steps, path }: Command): Promise<object> {
  switch (command) {
    case "steps": {
      const milliseconds: number[] = [];
      const cpuMilliseconds: number[] = [];
      const losses: number[] = [];
      for (let i = 0; i < count; i++) {
        const start = performance.now();
        const cpu = process.cpuUsage();
        losses.push(await gradients());
        await parameters.step({ ...optimiser, step: ++step });
        milliseconds.push(performance.now() - start);
        const { user, system } = process.cpuUsage(cpu);
        cpuMilliseconds.push((user + system) / 1000);
      }
      return { milliseconds, cpuMilliseconds, losses };
    }
    case "sample": {
      const milliseconds: number[] = [];
      for (let i = 0; i < count; i++) {
        const start = performance.now();
        await sample(steps);
        milliseconds.push(performance.now() - start);
      }
      return { milliseconds };
    }
    case "gradients": {
      const loss = await gradients();
      const found = await parameters.read("gradient");
      const file = openSync(path, "w");
      for (const { name, trainable } of definitions) if (trainable) writeSync(file, found[name]);
      closeSync(file);
      return { loss };
    }
    case "memory":
      return { peakBytes: peakBytes() };
    case "reset": {
      // Pages of the optimiser's state that no step has touched yet would be counted as the first step's.
      for (const slot of ["gradient", "moment1", "moment2"] as const)
        await parameters.write(slot, await parameters.read(slot));
      return { bytes: restartPeak() };
    }
  }
}

console.log(JSON.stringify({ ready: true, nodes: program?.program.nodeCount }));
for await (const line of createInterface({ input: process.stdin }))
  console.log(JSON.stringify(await answer(JSON.parse(line) as Command)));
await device.dispose();
