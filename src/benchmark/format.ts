/** @file A benchmark as text: a table a task, the ratios, and under what conditions. */
import { table } from "../evaluation/suite/format.js";
import type { BenchReport, BenchRow, BenchTask } from "./bench.js";
import { formatError } from "./parity.js";
import { formatRecord } from "./record.js";

const titles: Record<BenchTask, string> = {
  training: "Training: one step (loss, gradients, clipping, AdamW)",
  sampling: "Sampling: one document",
};

/** When the parts were measured, and which by an earlier call. */
export function formatParts(parts: BenchReport["parts"]): string {
  const moment = (date: string) => `${date.slice(0, 10)} ${date.slice(11, 16)}`;
  const dates = parts.map(({ record }) => moment(record.date)).sort();
  const [first, last] = [dates[0], dates[dates.length - 1]];
  const reused = parts.filter((part) => part.reused);
  const named = reused.map(({ task, length, record }) => `${task} at ${length} (${moment(record.date)})`);
  return (
    `begun ${first}${last === first ? "" : ` to ${last}`} UTC` +
    (reused.length > 0
      ? `; taken over from an earlier call under the same conditions: ${named.join(", ")}`
      : "")
  );
}

export function formatBench(report: BenchReport): string {
  const { rows, ratios, ceiling, record, parts, leftOut, parities, samplingSteps, alone, device } = report;
  const size = report.ceilingSize.toLocaleString("en-US");
  const tasks = [...new Set(rows.map(({ task }) => task))];
  return [
    formatRecord(record),
    ...(parts.some(({ reused }) => reused) ? [`Parts ${formatParts(parts)}`] : []),
    `Ceiling of the machine: ${ceiling.median.toFixed(0)} GFLOP/s (quartiles ${ceiling.lowerQuartile.toFixed(0)} to ${ceiling.upperQuartile.toFixed(0)}), float32 products of ${size} x ${size} between the rounds`,
    ...(device === "webgpu"
      ? [
          "On the graphics card: ours by WebGPU, PyTorch by CUDA. The ceiling is the processor's; peaks are the processes' own memory, without the card's",
        ]
      : []),
    ...(alone ? ["Started anew for every turn, one side in memory at a time"] : []),
    ...parities.map(
      ({ twin, variant, holds, lossError, gradientErrors }) =>
        `Parity of ${twin} with PyTorch, ${variant}: ${holds ? "holds" : "FAILS"} (loss ${formatError(lossError)}, gradients ${formatError(gradientErrors[0].error)} of the largest value)`,
    ),
    ...tasks.flatMap((task) => [
      `${titles[task]}${task === "sampling" ? `, ${samplingSteps} runs of the network (autoregressive: one a token)` : ""}`,
      timesTable(rows.filter((row) => row.task === task)),
    ]),
    ...(ratios.length > 0
      ? ["Times as long a text token, with the 95 % interval over rounds", ratioTable(report)]
      : []),
    ...leftOut.map((note) => `Left out: ${note}`),
  ].join("\n\n");
}

function timesTable(rows: readonly BenchRow[]): string {
  const shown = table([
    "length",
    "twin",
    "side",
    "ms (quartiles)",
    "tokens/s",
    "GFLOP",
    "of ceiling",
    "peak",
  ]);
  for (const { length, twin, side, spread, tokensPerSecond, flops, shareOfCeiling, peakBytes } of rows)
    shown.push([
      length,
      twin,
      side,
      `${spread.median.toFixed(0)} (${spread.lowerQuartile.toFixed(0)}-${spread.upperQuartile.toFixed(0)})`,
      tokensPerSecond.toFixed(0),
      (flops / 1e9).toFixed(0),
      `${(100 * shareOfCeiling).toFixed(0)} %`,
      `${(peakBytes / 1e9).toFixed(2)} GB`,
    ]);
  return shown.toString();
}

function ratioTable({ ratios }: BenchReport): string {
  const shown = table(["", "length", "time of", "over", "ratio", "memory"]);
  for (const { task, length, side, over, ratio, memory } of ratios)
    shown.push([
      task,
      length,
      side,
      over,
      `${ratio.mean.toFixed(2)}x (${ratio.low.toFixed(2)}-${ratio.high.toFixed(2)})`,
      `${memory.toFixed(2)}x`,
    ]);
  return shown.toString();
}
