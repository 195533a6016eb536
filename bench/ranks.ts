/**
 * @file What several ranks cost and gain on this machine: time of a training step at `bench-small`, of its update, of the sum of gradients
 * by itself, and peak memory; ranks and threads against each other, with and without a sharded optimiser.
 *
 *   npx tsx bench/ranks.ts [--preset moe-diffuseq] [--steps 3] [--rounds 3] [--json]
 *
 * Needs Open MPI's mpirun. The sides take turns, each in processes of its own; a step is two rows of 2,048 tokens in any case. Peak memory
 * is one rank's.
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { peakBytes } from "../src/benchmark/process-memory.js";
import { median } from "../src/benchmark/statistics.js";
import { joinRanks } from "../src/distributed/index.js";
import { createDevice } from "../src/runtime/index.js";
import { BUCKET_FLOATS } from "../src/runtime/parameter-layout.js";
import { referenceStep } from "./reference-step.js";

interface Side {
  readonly ranks: number;
  readonly threads: number;
  readonly sharded: boolean;
}
/** Milliseconds, one a step or repetition; bytes. */
interface Measured {
  readonly step: number[];
  /** Processor time of a rank for its loss and gradients: what a busy machine leaves as it is. */
  readonly processor: number[];
  readonly update: number[];
  /** All gradients by themselves: in buckets and in one piece. */
  readonly buckets: number[];
  readonly whole: number[];
  readonly peakBytes: number;
  readonly gradientBytes: number;
}

const { values: flags } = parseArgs({
  options: {
    preset: { type: "string", default: "moe-diffuseq" },
    steps: { type: "string", default: "3" },
    rounds: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
    side: { type: "string" }, // set in the processes that are measured
  },
});
const WARM_UP = 1;
const REPETITIONS = 12;

async function measure({ ranks, threads, sharded }: Side): Promise<Measured | null> {
  const communicator = await joinRanks();
  const { definitions, values, module, feeds, optimiser } = referenceStep({
    preset: flags.preset,
    documents: 1,
    batchSize: 2 / ranks,
  });
  const device = await createDevice("cpu", { threads, communicator });
  const specs = definitions.map(({ name, shape, trainable }) => ({ name, shape, trainable }));
  const parameters = await device.createParameters(specs, {
    training: true,
    ema: true,
    shardOptimizer: sharded,
  });
  await parameters.write("value", values);
  const program = await device.compile(module);
  const wanted = Object.fromEntries(program.program.inputs.map(({ name }) => [name, feeds[name]]));

  const [step, update, processor]: number[][] = [[], [], []];
  for (let k = 1; k <= WARM_UP + Number(flags.steps); k++) {
    await communicator.barrier();
    const start = performance.now();
    const before = process.cpuUsage();
    await parameters.zeroGradients();
    await program.run(wanted, { parameters });
    const { user, system } = process.cpuUsage(before);
    processor.push((user + system) / 1000);
    await communicator.barrier(); // so that an update does not count the wait for a slower rank; a step does
    const updating = performance.now();
    await parameters.step({ ...optimiser, emaDecay: 0.999, step: k, gradientScale: 1 / ranks });
    update.push(performance.now() - updating);
    step.push(performance.now() - start);
  }
  const peak = peakBytes();

  const gradients = new Float32Array(
    definitions.reduce((sum, d) => sum + (d.trainable ? d.shape.reduce((a, b) => a * b, 1) : 0), 0),
  );
  const sum = async (piece: number) => {
    const times: number[] = [];
    for (let k = 0; k < REPETITIONS; k++) {
      gradients.fill(1);
      await communicator.barrier();
      const start = performance.now();
      for (let at = 0; at < gradients.length; at += piece)
        await communicator.allReduce(gradients.subarray(at, at + piece));
      times.push(performance.now() - start);
    }
    return times;
  };
  const [buckets, whole] = [await sum(BUCKET_FLOATS), await sum(gradients.length)];
  await device.dispose();
  if (communicator.rank > 0) return null;
  const gradientBytes = gradients.byteLength;
  return {
    step: step.slice(WARM_UP),
    update: update.slice(WARM_UP),
    processor: processor.slice(WARM_UP),
    buckets,
    whole,
    peakBytes: peak,
    gradientBytes,
  };
}

function start(side: Side): Measured {
  const node = [
    process.execPath,
    ...process.execArgv, // how this process reads TypeScript
    fileURLToPath(import.meta.url),
    ...["--preset", flags.preset, "--steps", flags.steps, "--side", JSON.stringify(side)],
  ];
  const root = process.getuid?.() === 0 ? ["--allow-run-as-root"] : [];
  const launch =
    side.ranks === 1
      ? node
      : ["mpirun", ...root, "--oversubscribe", "--bind-to", "none", "-n", String(side.ranks), ...node];
  const output = execFileSync(launch[0], launch.slice(1), { encoding: "utf8" });
  return JSON.parse(output.trim().split("\n").at(-1)!) as Measured;
}

function main(): void {
  const sides: Side[] = [
    { ranks: 1, threads: 1, sharded: false },
    { ranks: 1, threads: 2, sharded: false },
    { ranks: 2, threads: 1, sharded: false },
    { ranks: 2, threads: 1, sharded: true },
  ];
  const found: Measured[][] = sides.map(() => []);
  for (let round = 0; round < Number(flags.rounds); round++)
    for (const [i, side] of sides.entries()) found[i].push(start(side));
  const rows = sides.map((side, i) => {
    const of = (name: "step" | "update" | "processor" | "buckets" | "whole") =>
      found[i].flatMap((m) => m[name]);
    return {
      ...side,
      step: median(of("step")),
      leastStep: Math.min(...of("step")),
      processor: Math.min(...of("processor")),
      update: median(of("update")),
      leastUpdate: Math.min(...of("update")),
      buckets: median(of("buckets")),
      leastBuckets: Math.min(...of("buckets")),
      whole: median(of("whole")),
      peakMebibytes: Math.max(...found[i].map((m) => m.peakBytes)) / 2 ** 20,
    };
  });
  if (flags.json) {
    console.log(JSON.stringify({ preset: flags.preset, rows, found }));
    return;
  }
  const [{ gradientBytes }] = found[0];
  console.log(
    `${flags.preset} at bench-small, 2 rows of 2,048 tokens a step, gradients of ${(gradientBytes / 1e6).toFixed(1)} MB`,
  );
  for (const row of rows) {
    const sums =
      row.ranks === 1
        ? ""
        : `, sum of gradients alone ${row.buckets.toFixed(0)} ms (least ${row.leastBuckets.toFixed(0)}; in one piece ${row.whole.toFixed(0)})`;
    console.log(
      `  ${row.ranks} x ${row.threads} thread${row.threads > 1 ? "s" : " "}${row.sharded ? " sharded" : "        "} ` +
        `step ${row.step.toFixed(0)} ms (least ${row.leastStep.toFixed(0)}), ` +
        `${(row.step / rows[0].step).toFixed(3)} of the first; processor time of its gradients ${row.processor.toFixed(0)} ms a rank; update ${row.update.toFixed(0)} ms (least ${row.leastUpdate.toFixed(0)})` +
        `${sums}, peak ${row.peakMebibytes.toFixed(0)} MiB a rank`,
    );
  }
}

if (flags.side) {
  const measured = await measure(JSON.parse(flags.side) as Side);
  if (measured) console.log(JSON.stringify(measured));
} else main();
