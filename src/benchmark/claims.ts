/**
 * @file The claims of the method, each beside what is measured here: speed, memory, cost of length, quality of texts. Ratios only, on one
 * machine, with intervals; what comes out against us stands in the same table.
 */
import { configFromLayers } from "../config/index.js";
import { PROGRAM } from "../errors.js";
import {
  LEAST_SCORE,
  type RatioInterval,
  runSuite,
  type SuiteOptions,
  type SuiteReport,
  type TaskReport,
} from "../evaluation/suite/index.js";
import type { TwinName } from "../evaluation/suite/twins.js";
import type { ProgramId } from "../hub/program-id.js";
import { costOf } from "../model/cost.js";
import {
  type BenchOptions,
  type BenchReport,
  type BenchRow,
  type BenchTask,
  runBench,
  timesPerToken,
} from "./bench.js";
import { ratioOfParts, ratioOfRounds } from "./statistics.js";

export interface ClaimsOptions {
  readonly bench: BenchOptions;
  /** Twins: the first is ours; without "dense-active" quality has nothing to be compared with. */
  readonly suite: SuiteOptions;
  readonly commands: ClaimCommands;
  readonly quick: boolean;
  /** The code that is at work. */
  readonly madeBy: ProgramId;
}

/** What the commands of the table need beside what they are about, as flags: "" or " --a b --c d". Plain JSON. */
export interface ClaimCommands {
  readonly bench: string;
  readonly suite: string;
  /** The folder of the data. */
  readonly data: string;
}

/** Plain JSON. */
export interface ClaimsReport {
  readonly quick: boolean;
  readonly commands: ClaimCommands;
  readonly bench: BenchReport;
  /** The same model with four times as many experts, as many at work. */
  readonly grown: BenchReport;
  readonly suite: SuiteReport;
  /** The code that made the report of what was measured, perhaps by an earlier call. */
  readonly madeBy: ProgramId;
}

/** One line of the table. Plain JSON. */
export interface Claim {
  readonly claim: string;
  /** The paper's ratio; "": it gives none. */
  readonly paper: string;
  readonly ours: string;
  /** 95 %; "": a single figure. */
  readonly interval: string;
  /** Whether the first side is better, and how much of the paper's ratio is reached; "": a quick run, or a figure that no side wins by. */
  readonly verdict: string;
  readonly command: string;
}

/** Experts of the grown model over those of the base. */
const GROWTH = 4;

export async function runClaims(options: ClaimsOptions): Promise<ClaimsReport> {
  const { bench, suite, quick, commands, madeBy } = options;
  const measured = await runBench(bench);
  const { experts } = bench.base.model;
  const grown = configFromLayers([
    { name: "base", config: bench.base },
    { name: "grown", config: { model: { experts: { numExperts: GROWTH * experts.numExperts } } } },
  ]);
  const second = await runBench({
    ...bench,
    base: grown,
    twins: ["moe-diffuseq"],
    lengths: [Math.min(...bench.lengths)],
    variants: [],
  });
  const report = await runSuite(suite);
  return { quick, commands, bench: measured, grown: second, suite: report, madeBy };
}

/** What the benchmark names but could not measure here. */
export const leftOutOf = ({ bench, grown }: Pick<ClaimsReport, "bench" | "grown">): string[] => [
  ...bench.leftOut,
  ...grown.leftOut.map((note) => `with more experts: ${note}`),
];

const found = (
  { rows }: BenchReport,
  task: BenchTask,
  twin: TwinName,
  length: number,
  side: BenchRow["side"] = "ours",
): BenchRow | undefined =>
  rows.find((row) => row.task === task && row.twin === twin && row.length === length && row.side === side);

const times = (value: number): string => `x${value.toFixed(2)}`;
const between = (low: number | null, high: number | null): string =>
  low === null ? "" : `${low.toFixed(2)} to ${high === null ? "no bound" : high.toFixed(2)}`;

/** The paper's ratios: for training throughput, latency at 2k tokens, and quality against dense models. */
const paper = {
  training: { ratio: 2.5, shown: "x2.5", length: null },
  sampling: { ratio: 2.4, shown: "x2.4 (2k tokens)", length: 2048 },
} as const;

interface Quality {
  readonly metric: string;
  readonly name: string;
  /** The paper's ratio over dense models; null: it gives none. */
  readonly paper: number | null;
}
const qualities: Readonly<Record<string, Quality>> = {
  science: { metric: "bleu", name: "abstracts: BLEU", paper: 1.19 },
  "code.pieces": { metric: "infillWords", name: "code: single words missing, exact match", paper: 1.19 },
  "code.lines": { metric: "exactMatch", name: "code, a line missing: exact match", paper: 1.19 },
  dialogue: { metric: "coherence", name: "dialogue: coherence (a classifier's, a proxy)", paper: 1.17 },
};

const infillQualities = {
  infillF1: "eight words missing in the middle, F1",
  infillWords: "single words missing, share written exactly",
} as const;

/** What a task's texts are judged by in the table, and the gaps it fills. */
function qualitiesOf({ task, metrics }: TaskReport): Quality[] {
  const [metric] = metrics;
  // "seq2seq.question-generation": "question generation".
  const short = task.slice(task.indexOf(".") + 1).replaceAll("-", " ");
  const own = qualities[task];
  // Where no target was long enough for gaps, nothing was judged by them.
  const main =
    own && metrics.includes(own.metric)
      ? own
      : { metric, name: `${short}: ${metricName(metric)}`, paper: null };
  const [subject] = main.name.split(":");
  const gaps = Object.entries(infillQualities).filter(
    ([metric]) => metrics.includes(metric) && metric !== main.metric,
  );
  return [main, ...gaps.map(([metric, what]) => ({ metric, name: `${subject}: ${what}`, paper: null }))];
}

/** "bleu": "BLEU"; others have their own name. */
const metricName = (metric: string): string => (metric === "bleu" ? "BLEU" : metric);

/** A side's verdict in words. `few`: what the interval does not know of; `paperRatio`: null where the paper has none. */
function verdict(
  value: Pick<RatioInterval, "ratio" | "low" | "high">,
  few: string,
  paperRatio: number | null,
): string {
  const { ratio } = value;
  // By the interval as it is printed: its ends are drawn at random, and a hair above 1 is none.
  const [low, high] = [value.low, value.high].map((end) => (end === null ? null : Number(end.toFixed(2))));
  const side =
    low !== null && low > 1 ? "ahead" : high !== null && high < 1 ? "behind" : "no difference shown";
  const share =
    ratio === null || paperRatio === null ? "" : `; ${(ratio / paperRatio).toFixed(2)} of the paper's ratio`;
  return `${side}${few}${share}`;
}

/** Rounds from which an interval over them is worth something. They are of one start of each side, so it knows nothing of other hours. */
const ENOUGH_ROUNDS = 5;
/** Rounds below which it is worth nothing: of two it is both. */
const FEWEST_ROUNDS = 3;

/** The table, from what was measured. */
export function claimsOf(report: ClaimsReport): Claim[] {
  const { bench } = report;
  const lengths = [...new Set(bench.rows.map(({ length }) => length))].sort((a, b) => a - b);
  return [
    ...speedClaims(report, lengths),
    ...memoryClaims(report, lengths),
    ...lengthClaims(report, lengths),
    ...qualityClaims(report),
  ];
}

function speedClaims({ bench, commands, quick }: ClaimsReport, lengths: readonly number[]): Claim[] {
  const words = {
    training: "training throughput against dense DiffuSeq",
    sampling: "sampling latency of dense DiffuSeq over ours",
  };
  const command = (length: number, more = "") =>
    `${PROGRAM} bench --lengths ${length} --twins moe-diffuseq,dense-active${more}${commands.bench}`;
  return (["training", "sampling"] as const).flatMap((task) =>
    lengths.flatMap((length) => {
      const ours = found(bench, task, "moe-diffuseq", length);
      if (!ours) return [];
      const against = bench.rows.filter(
        (row) =>
          row.task === task &&
          row.length === length &&
          row !== ours &&
          (row.twin === "dense-active" || row.twin === "moe-diffuseq"),
      );
      return against.map((row): Claim => {
        const { mean, low, high } = ratioOfRounds(timesPerToken(ours), timesPerToken(row));
        const dense = row.twin === "dense-active";
        const peer = row.side === "ours" ? "" : `, PyTorch ${row.side}`;
        const what = dense
          ? `${words[task]}${peer}`
          : `${task} against the same model in PyTorch ${row.side}`;
        const paperOf = dense && peer === "" ? paper[task] : null;
        const rounds = ours.milliseconds.length;
        return {
          claim: `${what}, length ${length}`,
          paper: paperOf?.shown ?? "",
          ours: times(mean),
          interval: between(low, high),
          verdict: quick
            ? ""
            : speedVerdict(
                { ratio: mean, low, high },
                rounds,
                paperOf && (paperOf.length === null || paperOf.length === length) ? paperOf.ratio : null,
              ),
          command: command(length, peer === "" ? "" : ` --python PYTHON --variants ${row.side}`),
        };
      });
    }),
  );
}

function speedVerdict(
  value: Parameters<typeof verdict>[0],
  rounds: number,
  paperRatio: number | null,
): string {
  const few = rounds < ENOUGH_ROUNDS ? `${rounds} ${rounds === 1 ? "round" : "rounds"} of ` : "";
  const doubts = ` (${few}one run)`;
  return rounds < FEWEST_ROUNDS ? `too few to say${doubts}` : verdict(value, doubts, paperRatio);
}

function memoryClaims({ bench, grown, commands }: ClaimsReport, lengths: readonly number[]): Claim[] {
  const claims = lengths.flatMap((length): Claim[] => {
    const ours = found(bench, "training", "moe-diffuseq", length);
    const dense = found(bench, "training", "dense-active", length);
    if (!ours || !dense) return [];
    return [
      {
        claim: `peak memory of training, dense DiffuSeq over ours, length ${length}`,
        paper: "",
        ours: times(dense.peakBytes / ours.peakBytes),
        interval: "",
        verdict: "",
        command: `${PROGRAM} bench --tasks training --lengths ${length}${commands.bench}`,
      },
    ];
  });
  const [length] = lengths;
  return [
    ...claims,
    ...(["training", "sampling"] as const).flatMap((task): Claim[] => {
      const [before, after] = [bench, grown].map((one) => found(one, task, "moe-diffuseq", length));
      if (!before || !after) return [];
      const parameters = [grown, bench].map(
        ({ config }) => costOf(config.model, { batchSize: 1, length: 1 }).parameters.total,
      );
      const experts = grown.config.model.experts.numExperts;
      return [
        {
          claim: `peak memory of ${task} with ${GROWTH} times the experts (${(parameters[0] / parameters[1]).toFixed(2)} times the parameters, as many at work)`,
          paper: "grows modestly",
          ours: times(after.peakBytes / before.peakBytes),
          interval: "",
          verdict: "",
          command: `${PROGRAM} bench --tasks ${task} --lengths ${length} --twins moe-diffuseq${commands.bench} --set model.experts.numExperts=${experts}`,
        },
      ];
    }),
  ];
}

function lengthClaims({ bench, commands }: ClaimsReport, lengths: readonly number[]): Claim[] {
  const [shortest, longest] = [lengths[0], lengths[lengths.length - 1]];
  if (shortest === longest) return [];
  return (["training", "sampling"] as const).flatMap((task) =>
    (["moe-diffuseq", "dense-active"] as const).flatMap((twin): Claim[] => {
      const ends = [shortest, longest].map((length) => found(bench, task, twin, length));
      const [short, long] = ends;
      if (!short || !long) return [];
      const { mean, low, high } = ratioOfParts(timesPerToken(short), timesPerToken(long));
      return [
        {
          claim: `${task}, ${twin}: time a token at length ${longest} over ${shortest}`,
          paper: twin === "moe-diffuseq" ? "about 1 (linear)" : "",
          ours: times(mean),
          interval: between(low, high),
          verdict: "",
          command: `${PROGRAM} bench --tasks ${task} --lengths ${shortest},${longest} --twins ${twin}${commands.bench}`,
        },
      ];
    }),
  );
}

function qualityClaims({ suite, quick, commands }: ClaimsReport): Claim[] {
  const budget =
    "minutes" in suite.budget
      ? `--max-minutes ${suite.budget.minutes}`
      : `--max-tokens ${suite.budget.tokens}`;
  return suite.tasks.flatMap((task) => {
    const [first, ...others] = task.summary.twins.map(({ twin }) => twin);
    const data = task.task === "addresses" ? "" : commands.data;
    return qualitiesOf(task).flatMap(({ metric, name, paper: ofPaper }) =>
      others.map((over): Claim => {
        const value = ratioOf(task, metric, over);
        const { ratio, low, high, first: ours, second } = value;
        const paperRatio = first === "moe-diffuseq" && over === "dense-active" ? ofPaper : null;
        return {
          claim: `${name}, ${first} over ${over}`,
          paper: paperRatio === null ? "" : times(paperRatio),
          ours: `${ratio === null ? "none" : times(ratio)} (${ours.toFixed(3)} and ${second.toFixed(3)})`,
          interval: between(low, high),
          verdict: quick ? "" : qualityVerdict(value, suite.seeds.length, paperRatio),
          command:
            `${PROGRAM} evaluate --suite ${task.task}${data} --twins ${first},${over} --seeds ${suite.seeds.join(",")} ` +
            `${budget} --items ${suite.items} --steps ${suite.steps}${quick ? " --quick" : ""}${commands.suite}`,
        };
      }),
    );
  });
}

/** Seeds from which an interval over them is worth something. */
const ENOUGH_SEEDS = 5;
/** Documents from which an interval over them is worth something, and below which it is worth nothing. */
const ENOUGH_DOCUMENTS = 20;
const FEWEST_DOCUMENTS = 5;

/** An interval of one seed says nothing of others, of few seeds or documents little; over a score of 0 there is no ratio. */
function qualityVerdict(value: RatioInterval, seeds: number, paperRatio: number | null): string {
  const { ratio, first, groups } = value;
  const doubts = [
    ...(seeds < ENOUGH_SEEDS ? [seeds === 1 ? "one seed" : `${seeds} seeds`] : []),
    ...(groups < ENOUGH_DOCUMENTS ? [`${groups} ${groups === 1 ? "document" : "documents"}`] : []),
  ];
  const few = doubts.length > 0 ? ` (${doubts.join(", ")})` : "";
  if (ratio === null) return `${first >= LEAST_SCORE ? "scores alone" : "neither scores"}${few}`;
  return groups < FEWEST_DOCUMENTS ? `too few to say${few}` : verdict(value, few, paperRatio);
}

const ratioOf = ({ summary }: TaskReport, metric: string, over: TwinName): RatioInterval =>
  summary.ratios.find((one) => one.metric === metric && one.over === over)!.value;

/** Median milliseconds a token, for charts. */
export const millisecondsPerToken = (row: BenchRow): number => row.spread.median / row.tokens;
