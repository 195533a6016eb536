/**
 * @file Time and memory of one training step at the reference configuration `bench-small`, beside the same step in eager PyTorch.
 *
 *   npx tsx bench/training-step.ts [--preset masked] [--peer PYTHON] [--steps 5] [--rounds 4] [--warm-up 2] [--threads N]
 *                                  [--documents 1] [--json]
 *
 * A step is loss, gradients, clipping and AdamW. Each side runs in a process of its own; with `--peer` (a Python that has PyTorch) they
 * take turns, `steps` at a time for `rounds` rounds, so that a busy machine is busy for all, and before that they compute the loss
 * and gradients of the same weights and batch, which must agree (tolerances in parity.ts). PyTorch comes twice: computing the
 * vocabulary's products where they count, as ours does, and at all positions, as code written without that thought does.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeDump } from "../src/benchmark/dump.js";
import { compareGradients, formatError, gradientsOf, type Parity } from "../src/benchmark/parity.js";
import { requirePeer, startPeer } from "../src/benchmark/peers.js";
import { median } from "../src/benchmark/statistics.js";
import { StepProcess, type StepTimes } from "../src/benchmark/step-process.js";
import { type ReferenceOptions, referenceStep } from "./reference-step.js";

const { values: flags } = parseArgs({
  options: {
    preset: { type: "string", default: "masked" },
    peer: { type: "string" },
    steps: { type: "string", default: "5" },
    rounds: { type: "string", default: "4" },
    "warm-up": { type: "string", default: "2" },
    threads: { type: "string", default: String(availableParallelism()) },
    documents: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
const options: ReferenceOptions = { preset: flags.preset, documents: Number(flags.documents) };
const [count, rounds, warmUp] = [flags.steps, flags.rounds, flags["warm-up"]].map(Number);

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const startOurs = () =>
  StepProcess.startOurs("moe-diffuseq", {
    config: reference.config,
    documents: options.documents,
    threads: Number(flags.threads),
  });
const peer = flags.peer ? await requirePeer(flags.peer, "--peer") : null;
const startPeers = async ({ python }: { readonly python: string }) => {
  const eager = { variant: "eager", threads: Number(flags.threads) } as const;
  return [
    await startPeer(python, folder, eager),
    await startPeer(python, folder, { ...eager, allRows: true }),
  ];
};

async function startTimed(): Promise<StepProcess[]> {
  const { child } = await startOurs();
  return [child, ...(peer ? await startPeers(peer) : [])];
}

interface Side extends StepTimes {
  readonly name: string;
  readonly peakBytes: number;
}

/** A B A B: every side `count` steps a round. */
async function timeSides(children: readonly StepProcess[]): Promise<Side[]> {
  const rows: StepTimes[][] = children.map(() => []);
  const ask = async (steps: number) => {
    for (const [i, child] of children.entries()) rows[i].push(await child.ask("steps", { count: steps }));
  };
  if (warmUp > 0) await ask(warmUp);
  for (let round = 0; round < rounds; round++) await ask(count);
  const sides: Side[] = [];
  for (const [i, child] of children.entries()) {
    const timed = rows[i].slice(warmUp > 0 ? 1 : 0);
    sides.push({
      name: child.name,
      milliseconds: timed.flatMap((row) => row.milliseconds),
      cpuMilliseconds: timed.flatMap((row) => row.cpuMilliseconds),
      losses: rows[i].flatMap((row) => row.losses),
      peakBytes: (await child.ask("memory")).peakBytes,
    });
    await child.end();
  }
  return sides;
}

const reference = referenceStep(options);
const folder = mkdtempSync(join(tmpdir(), "training-step-"));
try {
  const parities: Parity[] = [];
  const versions: Record<string, string> = {
    node: process.versions.node,
    "onnxruntime-node": version("onnxruntime-node"),
  };
  if (peer) {
    versions.torch = peer.torch;
    writeDump(folder, reference);
    const ask = (child: StepProcess) =>
      gradientsOf(child, reference.definitions, join(folder, "gradients.bin"));
    const ours = await startOurs();
    const expected = await ask(ours.child);
    await ours.child.end();
    for (const child of await startPeers(peer)) {
      const parity = compareGradients(expected, await ask(child));
      printParity(child.name, parity);
      parities.push(parity);
      await child.end(); // the timed processes do nothing but steps
    }
  }
  const before = loadavg();
  const sides = rounds > 0 ? await timeSides(await startTimed()) : [];
  const results = sides.map((side) => ({
    ...side,
    median: median(side.milliseconds),
    min: Math.min(...side.milliseconds),
    max: Math.max(...side.milliseconds),
    cpu: Math.min(...side.cpuMilliseconds),
    tokensPerSecond: (1000 * reference.tokens) / median(side.milliseconds),
  }));
  const load = [before, loadavg()].map(([minute]) => minute);
  if (rounds > 0) printTimes(results, load);
  if (flags.json)
    console.log(
      JSON.stringify({
        options,
        threads: flags.threads,
        versions,
        cpu: cpus()[0].model,
        load,
        parities,
        results,
      }),
    );
  if (parities.some(({ holds }) => !holds)) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true });
}

function version(name: string): string {
  const path = here(`../node_modules/${name}/package.json`);
  return (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
}

function printParity(peer: string, { loss, lossError, gradientErrors, holds }: Parity): void {
  console.log(
    `parity with ${peer} ${holds ? "holds" : "FAILS"}: loss ${loss.join(" and ")} (relative ${formatError(lossError)})`,
  );
  console.log("  gradients, largest difference over the largest value:");
  for (const { name, error } of gradientErrors.slice(0, 3)) console.log(`    ${formatError(error)}  ${name}`);
}

interface Result extends Side {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** Least processor time of a step. */
  readonly cpu: number;
  readonly tokensPerSecond: number;
}

function printTimes(results: readonly Result[], load: readonly number[]): void {
  const { milliseconds = [] } = results[0] ?? {};
  console.log(
    `${options.preset}, ${flags.threads} threads, ${milliseconds.length} steps a side in ${rounds} rounds, ` +
      `load ${load.map((x) => x.toFixed(1)).join(" -> ")}`,
  );
  for (const { name, median, min, max, cpu, tokensPerSecond, peakBytes, losses } of results)
    console.log(
      `  ${name.padEnd(23)} median ${median.toFixed(0)} ms (min ${min.toFixed(0)}, max ${max.toFixed(0)}, ` +
        `processor time ${cpu.toFixed(0)}), ` +
        `${tokensPerSecond.toFixed(0)} tokens/s, peak ${(peakBytes / 2 ** 20).toFixed(0)} MiB, last loss ${losses.at(-1)}`,
    );
  const [ours, ...peers] = results;
  for (const peer of peers)
    console.log(
      `  ${peer.name} over ours: ${(peer.median / ours.median).toFixed(2)}x by medians, ` +
        `${(peer.min / ours.min).toFixed(2)}x by minima, ${(peer.cpu / ours.cpu).toFixed(2)}x by processor time`,
    );
}
