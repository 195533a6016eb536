/** @file The claims as Markdown and as a page with charts. */
import {
  formatBudget,
  formatCode,
  formatFree,
  formatGaps,
  formatScale,
  formatScorer,
  heldOutOf,
  nameOf,
  textSetHead,
  textSetRows,
} from "../evaluation/suite/format.js";
import type { TaskReport, TwinRun } from "../evaluation/suite/index.js";
import { qualityAgainstSteps } from "../evaluation/suite/summary.js";
import { formatProgramId } from "../hub/program-id.js";
import { type FiguresSection, figuresReport, type LineChart, type Series } from "../report/index.js";
import { seriesColor } from "../report/theme.js";
import type { BenchTask } from "./bench.js";
import { type ClaimsReport, claimsOf, leftOutOf, millisecondsPerToken } from "./claims.js";
import { formatParts } from "./format.js";
import { formatRecord, joinRecords } from "./record.js";

const QUICK =
  "A quick run: tiny models trained for seconds, few rounds, few texts. It shows that every figure can be made, not what the figures are.";
const CAUTION =
  "Ratios on one machine, never the paper's absolute figures. An interval that holds 1 shows no difference; each is 95 % by itself, so of twenty " +
  "lines without a difference one may show one. " +
  "What may be concluded, and what not: docs/protocol.md.";

const TEXT_SETS =
  "Not in the paper. All written texts of a twin together, beside the held-out ones: how surprising they are, and how near as a set (docs/protocol.md).";

const head = ["claim", "the paper's ratio", "ours", "95 % interval", "verdict", "command"] as const;

/** The claims for a terminal: a line each, and what they leave out. */
export const claimsLines = (report: ClaimsReport): string[] => [
  ...claimsOf(report).map(
    ({ claim, paper, ours, interval, verdict }) =>
      `${claim}: ${ours}${interval ? ` (${interval})` : ""}${paper ? `; the paper: ${paper}` : ""}${verdict ? `; ${verdict}` : ""}`,
  ),
  ...leftOutOf(report).map((note) => `Left out: ${note}`),
  ...(report.quick ? ["", QUICK] : []),
];

/** What every twin had: minutes or tokens, and threads. */
function trainingOf({ budget, tasks }: ClaimsReport["suite"]): string {
  const threads = [...new Set(tasks.flatMap(({ runs }) => runs.map((run) => run.threads)))];
  return `${formatBudget(budget)}, ${threads.join(" or ")} ${String(threads) === "1" ? "thread" : "threads"}`;
}

function conditions({ bench, grown, suite, madeBy }: ClaimsReport): Record<string, string> {
  const { seeds, tasks, steps, base } = suite;
  return {
    Machine: formatRecord(joinRecords([bench.record, grown.record])),
    Ceiling: `${bench.ceiling.median.toFixed(0)} GFLOP/s (quartiles ${bench.ceiling.lowerQuartile.toFixed(0)} to ${bench.ceiling.upperQuartile.toFixed(0)})`,
    "Parts of the benchmark": formatParts(bench.parts),
    "With more experts": formatParts(grown.parts),
    "Training of a twin": trainingOf(suite),
    Seeds: seeds.join(", "),
    "Trained on": [...new Set(suite.tasks.flatMap(({ runs }) => runs.map(({ date }) => date.slice(0, 10))))]
      .sort()
      .join(", "),
    "Code of the twins": formatCode(tasks),
    "Code of this report": formatProgramId(madeBy),
    "Steps a text": String(steps),
    "Judged by": tasks.map((task) => `${task.task}: ${heldOutOf(task)}`).join("; "),
    Model: `${base.model.numLayers} layers of ${base.model.hiddenSize}, ${base.model.experts.numExperts} experts, vocabulary ${base.model.vocabSize}`,
    "Model of the benchmark": `${bench.config.model.numLayers} layers of ${bench.config.model.hiddenSize}, ${bench.config.model.experts.numExperts} experts, vocabulary ${bench.config.model.vocabSize}`,
  };
}

const tableOf = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`)
    .join("\n");

export function claimsMarkdown(report: ClaimsReport, command: string): string {
  const rows = claimsOf(report).map(({ claim, paper, ours, interval, verdict, command: own }) => [
    claim,
    paper,
    ours,
    interval,
    verdict,
    `\`${own}\``,
  ]);
  const leftOut = leftOutOf(report);
  return [
    "# Benchmarks",
    `Made by \`${command}\`; do not edit. ${report.quick ? `**${QUICK}** ` : ""}${CAUTION}`,
    tableOf(head, rows),
    "## Likelihoods",
    `${NATS} A continuous process means nothing without its channel alone; only bits per byte compare processes.`,
    tableOf(likelihoodHead, likelihoodRows(report)),
    ...report.suite.tasks.flatMap(({ task, classifier }) =>
      classifier ? [`## Coherence, ${task}`, formatScale(classifier)] : [],
    ),
    "## Texts under a scorer of ours",
    TEXT_SETS,
    ...report.suite.tasks.flatMap((task) => [
      `**${task.task}.** ${formatScorer(task.scorer)}`,
      tableOf(textSetHead, textSetRows(task)),
    ]),
    "## Conditions",
    Object.entries(conditions(report))
      .map(([name, value]) => `- ${name}: ${value}`)
      .join("\n"),
    ...(leftOut.length > 0 ? ["## Left out", leftOut.map((note) => `- ${note}`).join("\n")] : []),
  ]
    .join("\n\n")
    .concat("\n");
}

function likelihoodRows({ suite }: ClaimsReport): string[][] {
  const nats = (value: number | null) => (value === null ? "" : value.toFixed(3));
  return suite.tasks.flatMap(({ task, summary }) =>
    summary.twins.map(({ twin, network, channel, bitsPerByte, exact }) => [
      task,
      twin,
      nats(network),
      nats(channel),
      network === null || channel === null ? "" : (channel - network).toFixed(3),
      bitsPerByte === null ? "no bound" : `${exact ? "" : "at most "}${bitsPerByte.toFixed(3)}`,
    ]),
  );
}

const NATS =
  "Nats a target token, [PAD] included, mean over the noise levels; masked: an absorbed token, autoregressive: every token, at one level.";
const likelihoodHead = ["task", "twin", "network", "channel alone", "gain", "bits per byte"];

export function claimsPage(report: ClaimsReport, command: string): string {
  const { suite } = report;
  const [claims, leftOut] = [claimsOf(report), leftOutOf(report)];
  return figuresReport({
    title: "Claims and figures",
    summary: `${report.quick ? `${QUICK} ` : ""}${CAUTION} Made by: ${command}`,
    sections: [
      {
        heading: "The claims",
        table: {
          head: head.slice(0, -1),
          rows: claims.map(({ claim, paper, ours, interval, verdict }) => [
            claim,
            paper,
            ours,
            interval,
            verdict,
          ]),
        },
      },
      benchSection(report),
      {
        heading: "Likelihoods",
        lead: `${NATS} Beside them what the noisy codes say without any network. Only bits per byte compare processes.`,
        table: { head: likelihoodHead, rows: likelihoodRows(report) },
      },
      ...suite.tasks.map(taskSection),
      ...(leftOut.length > 0
        ? [{ heading: "Left out", table: { head: ["what, and why"], rows: leftOut.map((note) => [note]) } }]
        : []),
      {
        heading: "Each figure by itself",
        commands: claims.map(({ claim, command: own }) => ({ note: claim, command: own })),
      },
    ],
    facts: conditions(report),
  });
}

/** Ticks between whole powers have no name. */
const log2 = (x: number) => (Number.isInteger(x) ? String(2 ** x) : "");

function benchSection({ bench }: ClaimsReport): FiguresSection {
  const sides = [...new Set(bench.rows.map(({ twin, side }) => `${twin}, ${side}`))];
  const chart = (
    task: BenchTask,
    yLabel: string,
    value: (row: ClaimsReport["bench"]["rows"][number]) => number,
  ): LineChart => ({
    description: `${yLabel} of ${task} over length`,
    xLabel: "positions",
    yLabel,
    formatX: log2,
    fromZero: true,
    series: sides.map(
      (name, i): Series => ({
        name,
        color: seriesColor(i),
        style: "marked",
        points: bench.rows
          .filter((row) => row.task === task && `${row.twin}, ${row.side}` === name)
          .map((row) => ({ x: Math.log2(row.length), y: value(row) })),
      }),
    ),
  });
  const tasks = [...new Set(bench.rows.map(({ task }) => task))];
  return {
    heading: "Time and memory against length",
    lead: "Sides took turns. A line that stays level costs the same for every token, however long the document.",
    charts: tasks.flatMap((task) => [
      { heading: `${task}: time`, chart: chart(task, "ms a token", millisecondsPerToken) },
      { heading: `${task}: peak memory`, chart: chart(task, "GB", ({ peakBytes }) => peakBytes / 1e9) },
    ]),
  };
}

function taskSection(report: TaskReport): FiguresSection {
  const { task, description, runs, classifier, scorer } = report;
  const [first] = runs;
  const own = runs.filter(({ seed }) => seed === first.seed);
  return {
    heading: `${task}: ${description}`,
    lead: [
      "Validation losses of twins with other noise are other quantities: compare lines of one process only (docs/protocol.md).",
      ...(classifier ? [formatScale(classifier)] : []),
      formatScorer(scorer),
      ...(own.length < runs.length ? [`Charts and texts are of seed ${first.seed}.`] : []),
    ].join(" "),
    table: { head: textSetHead, rows: textSetRows(report) },
    charts: [
      { heading: "Loss against tokens", chart: curves(own, "tokens") },
      { heading: "Loss against time", chart: curves(own, "seconds") },
      {
        heading: "What the network adds to the channel",
        note: "At each noise level: nats a token of the channel alone, less those of the network on the same noise.",
        chart: gains(own),
      },
      ...own.flatMap((run) => (run.experts ? [loads(run)] : [])).slice(0, 1),
      ...(first.quality.length > 0 ? [quality(report)] : []),
    ],
    texts: own.flatMap(({ twin, seed, judged: { samples, infill, free } }) => {
      const name = nameOf(twin, seed, report);
      return [
        { label: `${name} writes`, text: samples[0]?.text ?? "" },
        ...(free ? [{ label: `${name} writes from nothing`, text: formatFree(free, 400) }] : []),
        ...Object.values(infill).map((gaps) => ({
          label: `${name} fills gaps [written | missing]`,
          text: formatGaps(gaps),
        })),
      ];
    }),
  };
}

const curves = (runs: readonly TwinRun[], axis: "tokens" | "seconds"): LineChart => ({
  description: `validation cross entropy over ${axis}`,
  xLabel: axis === "tokens" ? "tokens of pairs, [PAD] included" : "training seconds",
  yLabel: "nats a token",
  series: runs.map(({ twin, curve }, i) => ({
    name: twin,
    color: seriesColor(i),
    style: "marked",
    points: curve.map((point) => ({ x: point[axis], y: point.value })),
  })),
});

const gains = (runs: readonly TwinRun[]): LineChart => ({
  description: "gain of the network over the channel at each noise level",
  xLabel: "noise level t",
  yLabel: "nats a token",
  formatX: (x) => x.toFixed(1),
  series: runs.map(({ twin, levels }, i) => ({
    name: twin,
    color: seriesColor(i),
    style: "marked",
    points: levels.flatMap(({ time, targets }) => (targets ? [{ x: time, y: targets.gain }] : [])),
  })),
});

function loads({ twin, experts }: TwinRun) {
  const { layers, times } = experts!;
  const series = layers.flatMap((levels, layer): Series[] =>
    (["most", "least"] as const).map((end) => ({
      name: `layer ${layer}, ${end} loaded`,
      color: seriesColor(layer),
      style: "marked",
      points: levels.map(({ load }, i) => ({
        x: times[i],
        y: end === "most" ? Math.max(...load) : Math.min(...load),
      })),
    })),
  );
  return {
    heading: "Expert load against noise level",
    note: `${twin}: an even share is 1.`,
    chart: {
      description: "most and least loaded expert of each layer at each noise level",
      xLabel: "noise level t",
      yLabel: "times an even share",
      formatX: (x: number) => x.toFixed(1),
      fromZero: true,
      series,
      references: [{ name: "even", value: 1 }],
    },
  };
}

function quality({ runs, metrics: [metric], summary: { twins } }: TaskReport) {
  const [{ twin, scores, seeds }] = twins;
  return {
    heading: "Quality against steps",
    note: `${twin}: mean ${metric} of the same sources${seeds > 1 ? `, over ${seeds} seeds` : ""}.`,
    chart: {
      description: `${metric} over the number of steps`,
      xLabel: "steps",
      yLabel: metric,
      formatX: log2,
      series: [
        {
          name: twin,
          color: seriesColor(0),
          style: "marked" as const,
          points: qualityAgainstSteps(runs, metric).map(({ steps, score }) => ({
            x: Math.log2(steps),
            y: score,
          })),
        },
      ],
      references: [{ name: "at the suite's steps", value: scores[metric].mean }],
    },
  };
}
