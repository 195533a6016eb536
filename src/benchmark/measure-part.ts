/**
 * @file One part of the benchmark: a task at one length. Sides take turns, each in a process of its own; the ceiling of the machine is
 * measured between the rounds.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { ONE_TEXT } from "../config/generation-config.js";
import { configFromLayers, type RunConfig } from "../config/index.js";
import { type TwinName, twins } from "../evaluation/suite/twins.js";
import { costOf } from "../model/cost.js";
import { freeMemory, wholeMemory } from "../runtime/free-memory.js";
import { makeTemporaryFolder } from "../runtime/temporary-folder.js";
import type { BenchOptions, BenchReport, BenchRow, BenchTask } from "./bench.js";
import { SgemmCeiling } from "./ceiling.js";
import { writeDump } from "./dump.js";
import { compareGradients, gradientsOf, type Parity } from "./parity.js";
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
  /** Whether something was left out that may be measured another time: memory was short just then, a peer ended early. */
  readonly passing: boolean;
}

/** What is not measured, as it is found out. */
class LeftOut {
  readonly notes: string[] = [];
  passing = false;

  add(note: string, passing: boolean): void {
    this.notes.push(note);
    this.passing ||= passing;
  }
}

/** A side in notes, and among those that fail parity. */
export const sideName = (twin: TwinName, side: string): string => `${twin} (${side})`;

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

/** Units of work that a compiled peer does before it is timed. */
const COMPILED_WARM_UP = 5;
/** Share of the free memory that all sides of a length may take together. */
const MEMORY_SHARE = 0.8;

/** Whether peers (`sideName`) compute the same as ours, as far as parts before have found out. */
export type Agreement = Map<string, boolean>;

/** Measures one task at one length. A peer that can be held against ours to rounding is, the first time it trains. */
export async function measurePart(
  options: BenchOptions,
  task: BenchTask,
  length: number,
  record: RunRecord,
  agreement: Readonly<Agreement>,
): Promise<MeasuredPart> {
  const { peer, signal, onProgress = () => {} } = options;
  const parities: BenchReport["parities"][number][] = [];
  const found = new Map(agreement);
  const leftOut = new LeftOut();
  signal?.throwIfAborted();
  const ceiling = await SgemmCeiling.create(options.threads, options.ceilingSize);
  try {
    const chosen = chooseSides(options, task, length, leftOut);
    for (const side of chosen) {
      const name = sideName(side.twin, side.side);
      if (!needsParity(side) || task !== "training" || found.has(name)) continue;
      signal?.throwIfAborted();
      onProgress(`parity of ${side.twin} with PyTorch, ${side.side}`);
      const parity = await parityOf(side, options, peer!.python!);
      if (typeof parity === "string") leftOut.add(parity, true);
      else {
        parities.push({ ...parity, twin: side.twin, variant: side.side as PeerVariant });
        found.set(name, parity.holds);
      }
    }
    // What computes something else, or perhaps does, says nothing by its speed. Sampling alone checks nothing.
    const asked = options.tasks?.includes("training") ?? true;
    const sides = chosen.filter((side) => {
      const name = sideName(side.twin, side.side);
      const agrees = found.get(name);
      if (!needsParity(side) || agrees || (agrees === undefined && !asked)) return true;
      const why = agrees === undefined ? "may compute something else" : "does not compute the same";
      leftOut.add(`${task} of ${name}: it ${why}, see parity`, agrees === undefined);
      return false;
    });
    const rows = await measureSides(options, task, sides, ceiling, leftOut, (what) =>
      onProgress(`${task}, length ${length}: ${what}`),
    );
    await ceiling.measure();
    return {
      record: endRecord(record),
      gflops: ceiling.gflops,
      rows,
      parities,
      leftOut: leftOut.notes,
      passing: leftOut.passing,
    };
  } finally {
    await ceiling.dispose();
  }
}

/** In bfloat16 experts are chosen by rounded scores: gradients are those of other choices. */
const needsParity = ({ side }: Side): boolean => side !== "ours" && isExact(side);

/** What runs at one length: as many sides as fit into the memory together (`alone`: each by itself). */
function chooseSides(options: BenchOptions, task: BenchTask, length: number, leftOut: LeftOut): Side[] {
  const { base, peer, variants = [], tokens = 4096 } = options;
  const batchSize = task === "training" ? Math.max(1, Math.floor(tokens / length)) : 1;
  const sized = configFromLayers([
    { name: "base", config: base },
    { name: "length", config: { training: { sequenceLength: length, batchSize } } },
    // Neither the second pass of self-conditioning nor random numbers of dropout are timed; a text is one, written whole.
    { name: "timed", config: { model: { selfConditioning: false, dropout: 0 }, generation: ONE_TEXT } },
  ]);
  const whole = MEMORY_SHARE * freeMemory();
  let room = whole;
  const sides: Side[] = [];
  for (const [twin, config] of twins(sized, options.twins)) {
    // The peer samples with DiffuSeq-v2's solver, which is for Gaussian processes.
    const known = task === "training" || config.diffusion.gaussian;
    for (const side of ["ours", ...(peer?.python && known ? variants : [])] as const) {
      const bytes = bytesOf({ twin, side, config }, task);
      if (task === "sampling" && side !== "ours" && side.startsWith("compiled")) {
        leftOut.add(`sampling of ${sideName(twin, side)}: the peer samples eagerly`, false);
        continue;
      }
      if (bytes > room) {
        const gigabytes = (value: number) => (value / 1e9).toFixed(1);
        leftOut.add(
          `${task} of ${sideName(twin, side)} at length ${length}: about ${gigabytes(bytes)} GB, ${gigabytes(room)} GB left${bytes <= whole ? "; measure it with bench --alone" : ""}`,
          // Beside the others, with all memory free.
          bytes <= MEMORY_SHARE * wholeMemory() - (whole - room),
        );
        continue;
      }
      if (!options.alone) room -= bytes;
      sides.push({ twin, side, config });
    }
  }
  return sides;
}

/** Memory that a side is expected to take, in bytes. The peer recomputes no activations. */
export function bytesOf({ side, config: { model, training } }: Side, task: BenchTask): number {
  const { batchSize, sequenceLength: length } = training;
  const shape = { batchSize, length, ema: false };
  if (task === "sampling") {
    const { memory } = costOf(model, shape);
    return memory.values + (2 * memory.activations) / model.numLayers;
  }
  const recompute = side === "ours" && training.activationCheckpointing === "layers";
  const { memory } = costOf(model, { ...shape, recompute });
  return memory.optimizer + memory.activations;
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
  { threads, device, samplingSteps = 20 }: BenchOptions,
  python: string,
): Promise<StartedSide> {
  const folder = side === "ours" ? null : makeTemporaryFolder("bench");
  let child: StepProcess | null = null;
  try {
    if (side === "ours")
      child = (await StepProcess.startOurs(`${twin}, ${side}`, { config, threads, device, task })).child;
    else {
      writeDump(folder!, workload(config), solverLevels(config, samplingSteps) ?? undefined);
      child = await startPeer(python, folder!, { variant: side, threads, device });
    }
    // What is compiled for sizes that change from step to step is compiled several times before it stands.
    await timesOf(child, task, side.startsWith("compiled") ? COMPILED_WARM_UP : 1, samplingSteps);
    return { child, folder };
  } catch (error) {
    child?.kill();
    if (folder) rmSync(folder, { recursive: true });
    throw error;
  }
}

/** A side, what it took, and its process while it runs. */
interface Measured {
  readonly side: Side;
  readonly times: (readonly number[])[];
  peakBytes: number;
  started: StartedSide | null;
}

async function measureSides(
  options: BenchOptions,
  task: BenchTask,
  sides: readonly Side[],
  ceiling: SgemmCeiling,
  leftOut: LeftOut,
  onProgress: (what: string) => void,
): Promise<Omit<BenchRow, "shareOfCeiling">[]> {
  const { peer, rounds = 5, count = 1, samplingSteps = 20, alone = false, signal } = options;
  let measured: Measured[] = sides.map((side) => ({ side, times: [], peakBytes: 0, started: null }));
  const start = async (one: Measured) => {
    onProgress(`${one.side.twin}, ${one.side.side}: starting`);
    one.started = await startSide(one.side, task, options, peer?.python ?? "");
  };
  const stop = ({ started }: Measured) => {
    started?.child.kill();
    if (started?.folder) rmSync(started.folder, { recursive: true });
  };
  const end = async (one: Measured) => {
    const { child } = one.started!;
    one.peakBytes = Math.max(one.peakBytes, (await child.ask("memory")).peakBytes);
    await child.end();
    stop(one);
    one.started = null;
  };
  /** Does it for every side in turn. Ours must work; PyTorch may lack a compiler, or memory: then it is left out from there on. */
  const each = async (work: (one: Measured) => Promise<void>) => {
    const working: Measured[] = [];
    for (const one of measured) {
      signal?.throwIfAborted();
      try {
        await work(one);
        working.push(one);
      } catch (error) {
        const { side, twin } = one.side;
        if (side === "ours") throw error;
        stop(one);
        one.started = null;
        leftOut.add(`${task} of ${sideName(twin, side)}: ${errorLine(error)}`, true);
      }
    }
    measured = working;
  };
  try {
    if (!alone) await each(start);
    for (let round = 0; round < rounds; round++) {
      onProgress(`round ${round + 1} of ${rounds}`);
      await ceiling.measure();
      await each(async (one) => {
        if (alone) await start(one);
        one.times.push(await timesOf(one.started!.child, task, count, samplingSteps));
        if (alone) await end(one);
      });
    }
    if (!alone) await each(end);
  } finally {
    for (const one of measured) stop(one);
  }
  return measured.map((one) => rowOf(one, task, samplingSteps));
}

function rowOf(
  { side, times, peakBytes }: Measured,
  task: BenchTask,
  samplingSteps: number,
): Omit<BenchRow, "shareOfCeiling"> {
  const { batchSize, sequenceLength: length } = side.config.training;
  const cost = costOf(side.config.model, { batchSize, length, ema: false });
  // Left to right: all positions in the first step, then each by itself.
  const networks = side.config.diffusion.objective === "next-token" ? 2 : samplingSteps;
  const spread = spreadOf(times.flat());
  const tokens = batchSize * (length - side.config.model.attention.globalTokens);
  return {
    task,
    length,
    twin: side.twin,
    side: side.side,
    milliseconds: times,
    spread,
    tokens,
    tokensPerSecond: (1000 * tokens) / spread.median,
    peakBytes,
    flops: task === "training" ? cost.flops.training : networks * cost.flops.forward,
  };
}

/** Loss and gradients of both from equal weights and an equal batch; a sentence where the peer cannot say. */
async function parityOf(
  side: Side,
  { threads, device }: BenchOptions,
  python: string,
): Promise<Parity | string> {
  const variant = side.side as PeerVariant;
  const folder = makeTemporaryFolder("bench");
  const started: StepProcess[] = [];
  try {
    const work = workload(side.config);
    writeDump(folder, work);
    // One after the other: two of a size may not fit.
    const ask = async (child: StepProcess) => {
      started.push(child);
      const found = await gradientsOf(child, work.definitions, join(folder, "gradients.bin"));
      await child.end();
      return found;
    };
    const { child } = await StepProcess.startOurs("ours", { config: side.config, threads, device });
    const ours = await ask(child);
    return compareGradients(ours, await ask(await startPeer(python, folder, { variant, threads, device })));
  } catch (error) {
    return `parity of ${side.twin} with PyTorch ${variant}: ${errorLine(error)}`;
  } finally {
    for (const child of started) child.kill();
    rmSync(folder, { recursive: true });
  }
}

/** What an error comes to, in a line: of a Python program that ended the exception, which hints may follow, else its last line. */
export function errorLine(error: unknown): string {
  const lines = (error instanceof Error ? error.message : String(error)).trim().split("\n");
  const exception = lines.findLast((line) => /^[\w.]*(Error|Exception|Interrupt|Exit)\b/.test(line));
  return (exception ?? lines.at(-1)!).slice(0, 200);
}
