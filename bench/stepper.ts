/**
 * @file Runs reference steps in a process of its own, so that its memory is that of training and nothing else. Reads one command a line
 * from standard input and answers with one line of JSON; ends with its input. peers/moe_diffuseq.py speaks the same.
 *
 *   {"command": "steps", "count": 5}                  -> {"milliseconds": [...], "cpuMilliseconds": [...], "losses": [...]}
 *   {"command": "gradients", "path": "gradients.bin"} -> {"loss": 9.01}       writes them, unclipped, without an update
 *   {"command": "memory"}                             -> {"peakBytes": 1073741824}
 */
import { openSync, readFileSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { createDevice } from "../src/runtime/index.js";
import { type ReferenceOptions, referenceStep } from "./reference-step.js";

interface Command {
  readonly command: "steps" | "gradients" | "memory";
  readonly count: number;
  readonly path: string;
}

const options = JSON.parse(process.argv[2]) as ReferenceOptions & { readonly threads: number };
const { definitions, values, module, feeds, optimiser } = referenceStep(options);
const device = await createDevice("cpu", { threads: options.threads });
const specs = definitions.map(({ name, shape, trainable }) => ({ name, shape, trainable }));
const parameters = await device.createParameters(specs, { training: true });
await parameters.write("value", values);
const program = await device.compile(module);
const wanted = Object.fromEntries(program.program.inputs.map(({ name }) => [name, feeds[name]]));

let step = 0;
async function gradients(): Promise<number> {
  await parameters.zeroGradients();
  const { loss } = await program.run(wanted, { parameters });
  return Number(loss.data[0]);
}

async function answer({ command, count, path }: Command): Promise<object> {
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
    case "gradients": {
      const loss = await gradients();
      const found = await parameters.read("gradient");
      const file = openSync(path, "w");
      for (const { name, trainable } of definitions) if (trainable) writeSync(file, found[name]);
      return { loss };
    }
    case "memory": {
      const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"));
      return { peakBytes: peak ? Number(peak[1]) * 1024 : process.resourceUsage().maxRSS * 1024 };
    }
  }
}

console.log(JSON.stringify({ ready: true, nodes: program.program.nodeCount }));
for await (const line of createInterface({ input: process.stdin }))
  console.log(JSON.stringify(await answer(JSON.parse(line) as Command)));
await device.dispose();
