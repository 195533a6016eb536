/**
 * @file One part of the benchmark: a task at one length. Sides take turns, each in a process of its own; the ceiling of the machine is
 * measured between the rounds.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { freemem, tmpdir } from "node:os";
import { join } from "node:path";
import { configFromLayers, type RunConfig } from "../config/index.js";
import { type TwinName, twins } from "../evaluation/suite/twins.js";
import { costOf } from "../model/cost.js";
import type { BenchOptions, BenchReport, BenchRow, BenchTask } from "./bench.js";
import { SgemmCeiling } from "./ceiling.js";
import { writeDump } from "./dump.js";
import { checkParity, type Parity } from "./parity.js";
import { isExact, type PeerVariant, solverLevels, startPeer } from "./peers.js";
import { endRecord, type RunRecord } from "./record.js";
import { spreadOf } from "./statistics.js";
import { StepProcess } from "./step-process.js";
import { workload } from "./workload.js";

/** What is measured at one length, all sides of a task. Plain JSON. */
export interface MeasuredPart {
  readonly record: RunRecord;
  /** GFLOP/s of the ceiling, around and between the rounds. */
  readonly gflops: readonly number[];
  readonly rows: readonly Omit<BenchRow, "shareOfCeiling">[];
  readonly parities: BenchReport["parities"];
  readonly leftOut: readonly string[];
}

interface Side {
  readonly twin: TwinName;
  readonly side: BenchRow["side"];
  readonly config: RunConfig;
}

interface StartedSide {
  readonly child: StepProcess;
  /** What a peer reads from; null: nothing. */
  readonly folder: string | null;
}

/** Share of the free memory that all sides of a length may take together. */
const MEMORY_SHARE = 0.8;

export async function measurePart(
  options: BenchOptions,
  task: BenchTask,
  length: number,
  record: RunRecord,
): Promise<MeasuredPart> {
  const { threads, peer, signal, onProgress = () => {} } = options;
  const parities: BenchReport["parities"][number][] = [];
  const leftOut: string[] = [];
  signal?.throwIfAborted();
  const ceiling = await SgemmCeiling.create(threads);
  try {
    const sides = chooseSides(options, task, length, leftOut);
    for (const side of sides) {
      if (side.side === "ours" || task !== "training" || length !== options.lengths[0]) continue;
      // In bfloat16 experts are chosen by rounded scores: gradients are those of other choices.
      if (!isExact(side.side)) continue;
      signal?.throwIfAborted();
      onProgress(`parity of ${side.twin} with PyTorch, ${side.side}`);
      const parity = await parityOf(side, threads, peer!.python!);
      if (typeof parity === "string") leftOut.push(parity);
      else parities.push({ ...parity, twin: side.twin, variant: side.side });
    }
    const rows = await measureSides(options, task, sides, ceiling, leftOut, (what) =>
      onProgress(`${task}, length ${length}: ${what}`),
    );
    await ceiling.measure();
    return { record: endRecord(record), gflops: ceiling.gflops, rows, parities, leftOut };
  } finally {
    await ceiling.dispose();
  }
}

/** What runs at one length: as many sides as fit into the memory together. */
function chooseSides(options: BenchOptions, task: BenchTask, length: number, leftOut: string[]): Side[] {
  const { base, peer, variants = [], tokens = 4096 } = options;
  const batchSize = task === "training" ? Math.max(1, Math.floor(tokens / length)) : 1;
  const sized = configFromLayers([
    { name: "base", config: base },
    { name: "length", config: { training: { sequenceLength: length, batchSize } } },
  ]);
  let room = MEMORY_SHARE * freemem();
  const sides: Side[] = [];
  for (const [twin, config] of twins(sized, options.twins)) {
    const { memory } = costOf(config.model, { batchSize, length, ema: false });
    const sampling = memory.values + (2 * memory.activations) / config.model.numLayers;
    const bytes = task === "training" ? memory.optimizer + memory.activations : sampling;
    // The peer samples with DiffuSeq-v2's solver, which is for Gaussian processes.
    const known = task === "training" || config.diffusion.gaussian;
    for (const side of ["ours", ...(peer?.python && known ? variants : [])] as const) {
      if (task === "sampling" && side !== "ours" && side.startsWith("compiled")) continue;
      if (bytes > room) {
        const gigabytes = (value: number) => (value / 1e9).toFixed(1);
        leftOut.push(
          `${task} of ${twin} (${side}) at length ${length}: about ${gigabytes(bytes)} GB, ${gigabytes(room)} GB left; measure it alone (--twins ${twin})`,
        );
        continue;
      }
      room -= bytes;
      sides.push({ twin, side, config });
    }
  }
  return sides;
}

/** Milliseconds of some units of work. */
async function timesOf(
  child: StepProcess,
  task: BenchTask,
  count: number,
  steps: number,
): Promise<readonly number[]> {
  const done =
    task === "training" ? await child.ask("steps", { count }) : await child.ask("sample", { count, steps });
  return done.milliseconds;
}

/** A process that has done one unit of work: everything is compiled, the caches are full. */
async function startSide(
  { side, config, twin }: Side,
  task: BenchTask,
  threads: number,
  python: string,
  samplingSteps: number,
): Promise<StartedSide> {
  const folder = side === "ours" ? null : mkdtempSync(join(tmpdir(), "moe-diffuseq-bench-"));
  let child: StepProcess | null = null;
  try {
    if (side === "ours")
      child = (await StepProcess.startOurs(`${twin}, ${side}`, { config, threads, task })).child;
    else {
      writeDump(folder!, workload(config), solverLevels(config, samplingSteps) ?? undefined);
      child = await startPeer(python, folder!, { variant: side, threads });
    }
    await timesOf(child, task, 1, samplingSteps);
    return { child, folder };
  } catch (error) {
    child?.kill();
    if (folder) rmSync(folder, { recursive: true });
    throw error;
  }
}

async function measureSides(
  options: BenchOptions,
  task: BenchTask,
  sides: readonly Side[],
  ceiling: SgemmCeiling,
  leftOut: string[],
  onProgress: (what: string) => void,
): Promise<Omit<BenchRow, "shareOfCeiling">[]> {
  const { threads, peer, rounds = 5, count = 1, samplingSteps = 20, signal } = options;
  const running: (StartedSide & { side: Side; times: (readonly number[])[] })[] = [];
  try {
    for (const side of sides) {
      signal?.throwIfAborted();
      onProgress(`${side.twin}, ${side.side}: starting`);
      try {
        const started = await startSide(side, task, threads, peer?.python ?? "", samplingSteps);
        running.push({ side, ...started, times: [] });
      } catch (error) {
        // Ours must run; PyTorch may lack a compiler.
        if (side.side === "ours") throw error;
        leftOut.push(`${task} of ${side.twin} (${side.side}): ${lastLine(error)}`);
      }
    }
    for (let round = 0; round < rounds; round++) {
      onProgress(`round ${round + 1} of ${rounds}`);
      await ceiling.measure();
      for (const { child, times } of running) {
        signal?.throwIfAborted();
        times.push(await timesOf(child, task, count, samplingSteps));
      }
    }
    const rows: Omit<BenchRow, "shareOfCeiling">[] = [];
    for (const { side, child, times } of running) {
      const { batchSize, sequenceLength: length } = side.config.training;
      const cost = costOf(side.config.model, { batchSize, length, ema: false });
      // Left to right: all positions in the first step, then each by itself.
      const networks = side.config.diffusion.objective === "next-token" ? 2 : samplingSteps;
      const spread = spreadOf(times.flat());
      const tokens = batchSize * length;
      rows.push({
        task,
        length,
        twin: side.twin,
        side: side.side,
        milliseconds: times,
        spread,
        tokens,
        tokensPerSecond: (1000 * tokens) / spread.median,
        peakBytes: (await child.ask("memory")).peakBytes,
        flops: task === "training" ? cost.flops.training : networks * cost.flops.forward,
      });
    }
    return rows;
  } finally {
    for (const { child, folder } of running) {
      await child.end();
      if (folder) rmSync(folder, { recursive: true });
    }
  }
}

/** Loss and gradients of both from equal weights and an equal batch; a sentence where the peer cannot say. */
async function parityOf(side: Side, threads: number, python: string): Promise<Parity | string> {
  const variant = side.side as PeerVariant;
  const folder = mkdtempSync(join(tmpdir(), "moe-diffuseq-bench-"));
  const started: StepProcess[] = [];
  try {
    const work = workload(side.config);
    writeDump(folder, work);
    const { child } = await StepProcess.startOurs("ours", { config: side.config, threads });
    started.push(child);
    started.push(await startPeer(python, folder, { variant, threads }));
    return await checkParity(started[0], started[1], work.definitions, folder);
  } catch (error) {
    return `parity of ${side.twin} with PyTorch ${variant}: ${lastLine(error)}`;
  } finally {
    for (const child of started) child.kill();
    rmSync(folder, { recursive: true });
  }
}

const lastLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).trim().split("\n").at(-1)!.slice(0, 200);
