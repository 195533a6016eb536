/**
 * @file The benchmark: training steps and written documents over lengths, for twins of one model and for PyTorch where there is one. Sides
 * take turns, each in a process of its own, so that what else the machine does is done to all; the ceiling of the machine is measured
 * between the rounds.
 *
 *     const report = await runBench({ base, twins: ["moe-diffuseq", "dense-active"], lengths: [512, 2048] });
 *     console.log(formatBench(report));
 */
import { mkdtempSync, rmSync } from "node:fs";
import { freemem, tmpdir } from "node:os";
import { join } from "node:path";
import { configFromLayers, type RunConfig } from "../config/index.js";
import { type TwinName, twins } from "../evaluation/suite/twins.js";
import type { Interval } from "../metrics/index.js";
import { costOf } from "../model/cost.js";
import { SgemmCeiling } from "./ceiling.js";
import { writeDump } from "./dump.js";
import { checkParity, type Parity } from "./parity.js";
import { isExact, type PeerPython, type PeerVariant, solverLevels, startPeer } from "./peers.js";
import { endRecord, type RunRecord, startRecord } from "./record.js";
import { ratioOfRounds, type Spread, spreadOf } from "./statistics.js";
import { StepProcess } from "./step-process.js";
import { workload } from "./workload.js";

export const benchTasks = ["training", "sampling"] as const;
export type BenchTask = (typeof benchTasks)[number];

export interface BenchOptions {
  /** Configuration the twins are made of; its sequence length and batch are replaced. */
  readonly base: RunConfig;
  readonly twins: readonly TwinName[];
  /** Positions of a document. */
  readonly lengths: readonly number[];
  /** Default: both. */
  readonly tasks?: readonly BenchTask[];
  /** PyTorch to compare with (see `findPeer`), and in which variants. Default: none. */
  readonly peer?: PeerPython;
  readonly variants?: readonly PeerVariant[];
  /** Positions of a training step, as far as whole rows make them. Default 4096. */
  readonly tokens?: number;
  /** Runs of the network for a written document. Default 20. */
  readonly samplingSteps?: number;
  /** Turns each side takes, after one to warm up, and units of work in a turn. Default 5 and 1. */
  readonly rounds?: number;
  readonly count?: number;
  readonly threads: number;
  readonly onProgress?: (what: string) => void;
  readonly signal?: AbortSignal;
}

/** One side at one length. A unit of work is a training step, or a document. Plain JSON. */
export interface BenchRow {
  readonly task: BenchTask;
  readonly length: number;
  readonly twin: TwinName;
  /** "ours", or a variant of PyTorch. */
  readonly side: "ours" | PeerVariant;
  /** Of every unit, by round. */
  readonly milliseconds: readonly (readonly number[])[];
  readonly spread: Spread;
  /** Positions of a unit. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly peakBytes: number;
  /** Floating-point operations of a unit (model/cost.ts): the same for all sides, whatever they really compute. */
  readonly flops: number;
  /** flops over time, as a share of the measured ceiling. */
  readonly shareOfCeiling: number;
}

/** How many times as long `slower` takes as `faster`, at one length. Plain JSON. */
export interface BenchRatio {
  readonly task: BenchTask;
  readonly length: number;
  readonly faster: string;
  readonly slower: string;
  readonly ratio: Interval;
  /** Peak memory of `slower` over that of `faster`. */
  readonly memory: number;
}

/** Plain JSON. */
export interface BenchReport {
  readonly record: RunRecord;
  readonly config: RunConfig;
  readonly samplingSteps: number;
  /** GFLOP/s of square matrix products, between the rounds. */
  readonly ceiling: Spread;
  readonly rows: readonly BenchRow[];
  readonly ratios: readonly BenchRatio[];
  readonly parities: readonly (Parity & { readonly twin: TwinName; readonly variant: PeerVariant })[];
  /** What was not measured, and why. */
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

export async function runBench(options: BenchOptions): Promise<BenchReport> {
  const {
    base,
    threads,
    tasks = benchTasks,
    peer,
    samplingSteps = 20,
    signal,
    onProgress = () => {},
  } = options;
  const record = startRecord(threads, peer?.python ? { torch: peer.torch } : {});
  const ceiling = await SgemmCeiling.create(threads);
  const rows: Omit<BenchRow, "shareOfCeiling">[] = [];
  const parities: BenchReport["parities"][number][] = [];
  const leftOut: string[] = [];
  if (options.variants?.length && peer?.python === null) leftOut.push(`PyTorch: ${peer.missing}`);
  try {
    await ceiling.measure();
    for (const task of tasks)
      for (const length of options.lengths) {
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
        const measured = await measureSides(options, task, sides, ceiling, leftOut, (what) =>
          onProgress(`${task}, length ${length}: ${what}`),
        );
        rows.push(...measured);
      }
    await ceiling.measure();
  } finally {
    await ceiling.dispose();
  }
  const spread = spreadOf(ceiling.gflops);
  const finished = rows.map((row) => ({
    ...row,
    shareOfCeiling: row.flops / row.spread.median / 1e6 / spread.median,
  }));
  return {
    record: endRecord(record),
    config: base,
    samplingSteps,
    ceiling: spread,
    rows: finished,
    ratios: ratiosOf(finished),
    parities,
    leftOut,
  };
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
      const networks = side.config.diffusion.objective === "next-token" ? length : samplingSteps;
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

/** Each side against ours of the first twin. */
function ratiosOf(rows: readonly BenchRow[]): BenchRatio[] {
  return rows.flatMap((row) => {
    const first = rows.find(({ task, length }) => task === row.task && length === row.length)!;
    if (row === first || first.side !== "ours") return [];
    return [
      {
        task: row.task,
        length: row.length,
        faster: `${first.twin}, ${first.side}`,
        slower: `${row.twin}, ${row.side}`,
        ratio: ratioOfRounds(first.milliseconds, row.milliseconds),
        memory: row.peakBytes / first.peakBytes,
      },
    ];
  });
}
