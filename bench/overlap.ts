/**
 * @file What is gained by cutting a step into pieces (training.backwardPieces), so that gradients are summed over the ranks while others
 * are still computed: a step of `bench-small` with checkpointed layers, one row a rank, cut and whole taking turns.
 *
 *   mpirun -n 2 node --import tsx bench/overlap.ts [--pieces 1,2,4] [--rounds 5] [--threads 1] [--preset moe-diffuseq] [--set JSON]
 *
 * Over a network of 1 Gbit/s, on one machine (as root; loopback is slowed for everybody until the second command):
 *
 *   tc qdisc add dev lo root tbf rate 1gbit burst 256k latency 50ms
 *   mpirun -n 2 --mca btl tcp,self --mca btl_tcp_if_include lo --mca mpi_yield_when_idle 1 node --import tsx bench/overlap.ts
 *   tc qdisc del dev lo root
 */
import { parseArgs } from "node:util";
import { median } from "../src/benchmark/statistics.js";
import { mergeConfig, type PartialRunConfig } from "../src/config/index.js";
import { joinRanks, leaveRanks } from "../src/distributed/index.js";
import { createDevice } from "../src/runtime/index.js";
import { StepPrograms } from "../src/training/step-programs.js";
import { referenceStep } from "./reference-step.js";

const { values: flags } = parseArgs({
  options: {
    preset: { type: "string", default: "moe-diffuseq" },
    pieces: { type: "string", default: "1,2,4" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "1" },
    set: { type: "string", default: "{}" },
  },
});

const communicator = await joinRanks();
const device = await createDevice("cpu", { threads: Number(flags.threads), communicator });
const extra = mergeConfig(
  { training: { activationCheckpointing: "layers" } },
  JSON.parse(flags.set) as PartialRunConfig,
) as PartialRunConfig;
const workload = referenceStep({ preset: flags.preset, documents: 1, batchSize: 1, extra });
const { config, definitions, values, module, feeds, optimiser } = workload;
const store = await device.createParameters(definitions, { training: true, ema: true });
await store.write("value", values);

const sides = [];
for (const pieces of flags.pieces.split(",").map(Number)) {
  const own = { ...config, training: { ...config.training, backwardPieces: pieces } };
  sides.push({ pieces, programs: await StepPrograms.create(module, own, device), step: [], update: [] } as {
    pieces: number;
    programs: StepPrograms;
    step: number[];
    update: number[];
  });
}
let step = 0;
for (let round = 0; round <= Number(flags.rounds); round++)
  for (const { programs, ...times } of sides) {
    const wanted = Object.fromEntries(
      programs.inputs.map(({ name }) => [name, { ...feeds[name], data: feeds[name].data.slice() }]),
    );
    await communicator.barrier();
    const start = performance.now();
    await store.zeroGradients();
    await programs.run(wanted as typeof feeds, store, true);
    const between = performance.now();
    await store.step({ ...optimiser, emaDecay: 0.999, step: ++step, gradientScale: 1 / communicator.size });
    const end = performance.now();
    if (round === 0) continue; // warm-up
    times.step.push(end - start);
    times.update.push(end - between);
  }
if (communicator.rank === 0) {
  const trainable = definitions.reduce(
    (sum, d) => sum + (d.trainable ? d.shape.reduce((a, b) => a * b, 1) : 0),
    0,
  );
  console.log(
    `${flags.preset}, ${communicator.size} ranks of ${flags.threads} threads, one row of ${config.training.sequenceLength} tokens each, ` +
      `gradients of ${((4 * trainable) / 1e6).toFixed(1)} MB, ${flags.rounds} rounds`,
  );
  for (const { pieces, step: all, update } of sides)
    console.log(
      `  ${pieces} piece${pieces > 1 ? "s" : " "}  step ${median(all).toFixed(0)} ms (least ${Math.min(...all).toFixed(0)}), ` +
        `of which after the last program ${median(update).toFixed(0)} (least ${Math.min(...update).toFixed(0)}); ` +
        `${(median(all) / median(sides[0].step)).toFixed(3)} of the first`,
    );
}
await device.dispose();
leaveRanks();
