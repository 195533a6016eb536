/**
 * @file Steps of training on one device, at the sizes of a preset: loss, norm of the gradients, milliseconds of loss and gradients and of
 * the update, tokens a second. Batches are made up and equal everywhere, so losses and norms can be compared between devices.
 *
 *   npx tsx bench/device-step.ts [--device cpu] [--preset moe-diffuseq] [--set training.batchSize=32]... [--steps 6] [--threads N]
 *
 * On a graphics card the first step compiles the programs of the card: it does not count.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { workload } from "../src/benchmark/workload.js";
import { resolveConfig } from "../src/config/resolve.js";
import { createDevice, type DeviceKind } from "../src/runtime/index.js";

const { values: flags } = parseArgs({
  options: {
    device: { type: "string", default: "cpu" },
    preset: { type: "string", default: "moe-diffuseq" },
    set: { type: "string", multiple: true, default: [] },
    steps: { type: "string", default: "6" },
    threads: { type: "string", default: String(availableParallelism()) },
  },
});
const config = resolveConfig({ preset: flags.preset, sets: flags.set });
const { definitions, values, module, feeds, optimiser, tokens } = workload(config);
const device = await createDevice(flags.device as DeviceKind, { threads: Number(flags.threads) });
const parameters = await device.createParameters(definitions, { training: true });
await parameters.write("value", values);
const program = await device.compile(module);
const wanted = Object.fromEntries(program.program.inputs.map(({ name }) => [name, feeds[name]]));
for (let step = 1; step <= Number(flags.steps); step++) {
  const start = performance.now();
  await parameters.zeroGradients();
  const { loss } = await program.run(wanted, { parameters });
  const middle = performance.now();
  const { gradNorm } = await parameters.step({ ...optimiser, step });
  const end = performance.now();
  const rate = (tokens / (end - start)) * 1000;
  console.log(
    `step ${step}  loss ${Number(loss.data[0]).toFixed(6)}  norm ${gradNorm.toFixed(6)}  gradients ${(middle - start).toFixed(0)} ms  ` +
      `update ${(end - middle).toFixed(0)} ms  ${rate.toFixed(0)} tokens/s`,
  );
}
await device.dispose();
