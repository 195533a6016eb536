/**
 * @file The benchmark: training steps and written documents over lengths, for twins of one model and for PyTorch where there is one. Sides
 * take turns, each in a process of its own, so that what else the machine does is done to all; the ceiling of the machine is measured
 * between the rounds.
 *
 *     const report = await runBench({ base, twins: ["moe-diffuseq", "dense-active"], lengths: [512, 2048] });
 *     console.log(formatBench(report));
 */
import type { RunConfig } from "../config/index.js";
import type { TwinName } from "../evaluation/suite/twins.js";
import type { Interval } from "../metrics/index.js";
import { createDevice, type DeviceKind } from "../runtime/index.js";
import { CEILING_SIZE } from "../training/profile.js";
import { KeptParts } from "./kept-parts.js";
import { type Agreement, type MeasuredPart, measurePart, sideName } from "./measure-part.js";
import type { Parity } from "./parity.js";
import type { PeerPython, PeerVariant } from "./peers.js";
import { conditionsOf, joinRecords, type RunRecord, startRecord } from "./record.js";
import { ratioOfRounds, type Spread, spreadOf } from "./statistics.js";

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
  /** Rows and columns of the matrices that the ceiling is measured with. Default 1024. */
  readonly ceilingSize?: number;
  /**
   * Every turn starts its side anew and ends it, so that no two are in memory together: for sizes of which two do not fit. Slower by all the
   * starts, which are not timed. Default false: all sides stay.
   */
  readonly alone?: boolean;
  readonly threads: number;
  /**
   * Where ours computes: "cpu" (default) or "webgpu", a graphics card; PyTorch then on CUDA (`findPeer` with the same device). The ceiling
   * is the processor's all the same, and peaks of memory are those of the processes, without the card's.
   */
  readonly device?: DeviceKind;
  /**
   * Folder where a part (a task at one length, all its sides) is kept as soon as it is complete, and taken over from where it was measured
   * with the same settings, code and machine. Default: nothing is kept.
   */
  readonly keep?: string;
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
  /** Text tokens of a unit: its positions without learned globals, which not all twins have. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly peakBytes: number;
  /** Floating-point operations of a unit (model/cost.ts): the same for all sides, whatever they really compute. */
  readonly flops: number;
  /** flops over time, as a share of the measured ceiling of the processor. */
  readonly shareOfCeiling: number;
}

/** Milliseconds a text token of every unit, by round. */
export const timesPerToken = ({
  milliseconds,
  tokens,
}: Pick<BenchRow, "milliseconds" | "tokens">): readonly (readonly number[])[] =>
  milliseconds.map((round) => round.map((time) => time / tokens));

/** How many times as long `side` takes for a text token as `over`, at one length. Plain JSON. */
export interface BenchRatio {
  readonly task: BenchTask;
  readonly length: number;
  readonly side: string;
  readonly over: string;
  readonly ratio: Interval;
  /** Peak memory of `side` over that of `over`. */
  readonly memory: number;
}

/** When a part was measured. Plain JSON. */
export interface BenchPart {
  readonly task: BenchTask;
  readonly length: number;
  readonly record: RunRecord;
  /** By an earlier call (`keep`). */
  readonly reused: boolean;
}

/** Plain JSON. */
export interface BenchReport {
  /** Of all parts together. */
  readonly record: RunRecord;
  readonly parts: readonly BenchPart[];
  readonly config: RunConfig;
  readonly samplingSteps: number;
  /** One side in memory at a time (`BenchOptions.alone`). */
  readonly alone: boolean;
  readonly device: DeviceKind;
  /** GFLOP/s of products of so many rows and columns, between the rounds. */
  readonly ceiling: Spread;
  readonly ceilingSize: number;
  readonly rows: readonly BenchRow[];
  readonly ratios: readonly BenchRatio[];
  readonly parities: readonly (Parity & { readonly twin: TwinName; readonly variant: PeerVariant })[];
  /** What was not measured, and why. */
  readonly leftOut: readonly string[];
}

export async function runBench(asked: BenchOptions): Promise<BenchReport> {
  const options = inOrder(asked);
  const {
    base,
    threads,
    tasks,
    lengths,
    peer,
    samplingSteps = 20,
    device = "cpu",
    keep,
    onProgress = () => {},
  } = options;
  // Without a card this says so, before anything is measured.
  if (device === "webgpu") await (await createDevice(device, { threads })).dispose();
  const versions: Record<string, string> = peer?.python ? { torch: peer.torch } : {};
  const now = startRecord(threads, versions);
  const store = new KeptParts<MeasuredPart>(keep);
  const measured: (MeasuredPart & BenchPart)[] = [];
  const agreement: Agreement = new Map();
  for (const task of tasks)
    for (const length of lengths) {
      const what = `${task}, length ${length}`;
      const settings = {
        conditions: conditionsOf(now),
        ...partSettings(options, task, length),
        ...(agreement.size > 0 ? { agreement: [...agreement] } : {}),
      };
      const name = `${task}-${length}`;
      const kept = await store.find(name, settings);
      if (kept) onProgress(`${what}: measured ${kept.record.date}, taken over`);
      const part =
        kept ?? (await measurePart(options, task, length, startRecord(threads, versions), agreement));
      if (!kept && !part.passing) await store.keep(name, settings, part);
      for (const { twin, variant, holds } of part.parities) agreement.set(sideName(twin, variant), holds);
      measured.push({ ...part, task, length, reused: kept !== null });
    }
  const leftOut = measured.flatMap((part) => part.leftOut);
  if (options.variants?.length && peer?.python === null) leftOut.unshift(`PyTorch: ${peer.missing}`);
  const ceiling = spreadOf(measured.flatMap(({ gflops }) => gflops));
  const rows = measured.flatMap((part) =>
    part.rows.map((row) => ({
      ...row,
      shareOfCeiling: row.flops / row.spread.median / 1e6 / ceiling.median,
    })),
  );
  return {
    record: joinRecords(measured.map(({ record }) => record)),
    parts: measured.map(({ task, length, record, reused }) => ({ task, length, record, reused })),
    config: base,
    samplingSteps,
    alone: options.alone ?? false,
    device,
    ceiling,
    ceilingSize: options.ceilingSize ?? CEILING_SIZE,
    rows,
    ratios: ratiosOf(rows),
    parities: measured.flatMap(({ parities }) => parities),
    leftOut,
  };
}

/** Everything once, and training first, at the shortest length: there parity is found out, which the other parts go by. */
const inOrder = (options: BenchOptions) => ({
  ...options,
  twins: [...new Set(options.twins)],
  tasks: benchTasks.filter((task) => options.tasks?.includes(task) ?? true),
  lengths: [...new Set(options.lengths)].sort((a, b) => a - b),
  variants: [...new Set(options.variants)],
});

/** All that the figures of a part depend on, machine and code aside. */
function partSettings(
  {
    base,
    twins: names,
    peer,
    variants = [],
    tokens = 4096,
    samplingSteps = 20,
    rounds = 5,
    count = 1,
    ceilingSize = CEILING_SIZE,
    alone = false,
    device = "cpu",
  }: BenchOptions,
  task: BenchTask,
  length: number,
): object {
  const python = peer?.python ?? null;
  const turns = { samplingSteps, rounds, count, ceilingSize, alone, device };
  return { task, length, base, twins: names, python, variants, tokens, ...turns };
}

/** Each side against ours of the first twin. */
function ratiosOf(rows: readonly BenchRow[]): BenchRatio[] {
  return rows.flatMap((row) => {
    const first = rows.find(({ task, length }) => task === row.task && length === row.length)!;
    if (row === first || first.side !== "ours") return [];
    return [
      {
        task: row.task,
        length: row.length,
        side: `${row.twin}, ${row.side}`,
        over: `${first.twin}, ${first.side}`,
        ratio: ratioOfRounds(timesPerToken(first), timesPerToken(row)),
        memory: row.peakBytes / first.peakBytes,
      },
    ];
  });
}
