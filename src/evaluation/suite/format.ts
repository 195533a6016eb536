/** @file A suite as text: for every task its twins, and the first of them over the others. */
import Table from "cli-table3";
import { formatProgramIds } from "../../hub/program-id.js";
import { mean } from "../../metrics/bootstrap.js";
import type { Interval } from "../../metrics/index.js";
import { type FilledGaps, infillings } from "./infill.js";
import type { ClassifierScale, SuiteReport, TaskReport } from "./run-suite.js";
import { qualityAgainstSteps, type RatioInterval, type TwinSummary } from "./summary.js";
import type { ScorerScale } from "./text-scorer.js";
import type { SuiteBudget } from "./twin-run.js";
import type { TwinName } from "./twins.js";
import type { Judged } from "./write-texts.js";

/** An empty table without colours. */
export const table = (head: string[]) => new Table({ head, style: { head: [], border: [] } });
const interval = ({ mean, low, high }: Interval): string =>
  `${mean.toFixed(3)} (${low.toFixed(3)}-${high.toFixed(3)})`;
const nats = (value: number | null): string => (value === null ? "-" : value.toFixed(3));

/** "1.19 (1.02-1.40)", or why there is none. */
export function formatRatio({ ratio, low, high, first, second }: RatioInterval): string {
  if (ratio === null) return `none (${first.toFixed(3)} over ${second.toFixed(3)})`;
  const top = high === null ? "no bound" : high.toFixed(2);
  return `${ratio.toFixed(2)} (${low?.toFixed(2)}-${top})`;
}

/** A text with what was written in its gaps: its ends, and what stands around each gap. */
export function formatGaps({ given, missing, written }: FilledGaps): string {
  const around = Math.max(SHORTEST, Math.floor(AROUND / missing.length));
  const shown = given.map((text, i) => {
    const [left, right] = [i > 0, i < missing.length].map((gap) => (gap ? around : 0));
    return text.length <= left + right
      ? text
      : `${text.slice(0, left)} ... ${text.slice(text.length - right)}`;
  });
  const gaps = written.map((text, i) => `[${text} |${missing[i]}]`);
  return shown.flatMap((text, i) => (i < gaps.length ? [text, gaps[i]] : [text])).join("");
}

/** Characters shown on each side of all gaps together, and of one at least. */
const AROUND = 80;
const SHORTEST = 15;

/** "20 minutes", "400000 tokens of pairs, [PAD] included". */
export const formatBudget = (budget: SuiteBudget): string =>
  "minutes" in budget ? `${budget.minutes} minutes` : `${budget.tokens} tokens of pairs, [PAD] included`;

export function formatSuite({ tasks, budget, seeds, steps }: SuiteReport): string {
  return [
    `Each twin: ${formatBudget(budget)} of training, ${seeds.length === 1 ? `seed ${seeds[0]}` : `seeds ${seeds.join(", ")}`}; ${steps} steps a text. Intervals: 95 %, bootstrap over documents${seeds.length === 1 ? "" : " and seeds"}.`,
    ...tasks.flatMap(formatTask),
    formatCode(tasks),
  ].join("\n\n");
}

/** Which code trained and judged: what an earlier call has kept may be of another. */
export function formatCode(tasks: readonly TaskReport[]): string {
  const runs = tasks.flatMap((task) => task.runs);
  const judgements = runs.flatMap(({ judged, quality }) => [judged, ...quality.map((at) => at.judged)]);
  return (
    `Trained by ${formatProgramIds(runs.map(({ trainedBy }) => trainedBy))}; ` +
    `judged by ${formatProgramIds(judgements.map(({ judgedBy }) => judgedBy))}.`
  );
}

/** "48 sources of 35 documents; gaps in 45 and 44 targets". */
export function heldOutOf({ pairs: { valid, groups }, runs }: TaskReport): string {
  const { scored } = runs[0].judged;
  const gaps = Object.values(infillings).flatMap(({ metrics }) => {
    const [first] = Object.keys(metrics);
    return scored[first] ? [scored[first].length] : [];
  });
  const inGaps = gaps.length > 0 ? `; gaps in ${gaps.join(" and ")} of their targets` : "";
  return `${valid} held-out sources of ${groups} documents${inGaps}`;
}

/** What the classifier of next turns is worth. */
export function formatScale({ turns, trueTurns, wrong, truth }: ClassifierScale): string {
  const kinds = wrong.map(
    ({ kind, score, accuracy }) =>
      `turns of the ${kind}: ${score.toFixed(3)} (told apart ${(100 * accuracy).toFixed(0)} times of 100; 50: not at all)`,
  );
  return (
    `Coherence is a proxy, a classifier's score, tried on ${turns} held-out turns. ` +
    `${[`True next turns: ${trueTurns.toFixed(3)}`, ...kinds].join("; ")}. ` +
    `Those of the judged sources, over what was written: ${truth.map(({ over, value }) => `${formatRatio(value)} of ${over}`).join(", ")}, which is what the scale has left for it.`
  );
}

/** What the scorer of texts is, and what it says of real ones. */
export const formatScorer = ({ tokens, real }: ScorerScale): string =>
  `By a trigram model and latent semantics of ${tokens} tokens of the training targets: held-out targets have a perplexity of ${perplexity(real.perplexity)}, ` +
  `and ${real.likeness.sets} sets of as many training targets a likeness to them of ${real.likeness.median.toFixed(2)}, 8 of 10 from ${real.likeness.low.toFixed(2)} to ${real.likeness.high.toFixed(2)} ` +
  "(MAUVE-like: 1 is alike, 0.004 nothing in common; within that range texts are not told from real ones). Nearer to these is better; a lower perplexity is duller; empty texts have none.";

const perplexity = (value: number | null): string => (value === null ? "-" : value.toFixed(1));

/** Where one has none, the mean is none. */
function meanOf<T>(all: readonly T[], digits: number, value: (one: T) => number | null): string {
  const values = all.map(value);
  return values.length > 0 && values.every((one) => one !== null) ? mean(values).toFixed(digits) : "-";
}

/**
 * Twin, perplexity of its texts, how many are empty with each seed, and likeness; of those from nothing perplexity, repetition and different
 * words. Means over seeds.
 */
export const textSetRows = ({ summary, runs, pairs }: TaskReport): string[][] =>
  summary.twins.map(({ twin }) => {
    const own = runs.filter((run) => run.twin === twin).map(({ judged }) => judged);
    const free = own.flatMap((judged) => judged.free ?? []);
    return [
      twin,
      meanOf(own, 1, ({ asSet }) => asSet.perplexity),
      own.map(({ asSet }) => `${asSet.empty} of ${pairs.valid}`).join(", "),
      meanOf(own, 2, ({ asSet }) => asSet.likeness),
      meanOf(free, 1, (texts) => texts.perplexity),
      meanOf(free, 3, (texts) => texts.repetition),
      meanOf(free, 3, (texts) => texts.distinctWords),
    ];
  });
export const textSetHead = [
  "twin",
  "perplexity",
  "empty texts",
  "likeness",
  "from nothing: perplexity",
  "4-grams repeated",
  "different words",
];

/** Texts from nothing, and the beginning of one. */
export const formatFree = (
  { repetition, distinctWords, sample }: NonNullable<Judged["free"]>,
  characters: number,
): string =>
  `${JSON.stringify(sample.slice(0, characters))} (4-grams repeated ${repetition.toFixed(3)}, different words ${distinctWords.toFixed(3)})`;

/** The twin, and where there are several seeds, which one. */
export const nameOf = (twin: TwinName, seed: number, { runs }: Pick<TaskReport, "runs">): string =>
  runs.every((run) => run.seed === seed) ? twin : `${twin}, seed ${seed},`;

function formatTask(report: TaskReport): string[] {
  const { task, description, summary, classifier, runs } = report;
  return [
    `${task}: ${description} (${report.pairs.train} pairs to learn from; judged by ${heldOutOf(report)})`,
    likelihoods(summary.twins, report),
    scores(report),
    ...(summary.ratios.length > 0 ? [ratios(report)] : []),
    ...(classifier ? [formatScale(classifier)] : []),
    textSets(report),
    ...(runs[0].quality.length > 0 ? [quality(report)] : []),
    ...runs
      .filter(({ seed }) => seed === runs[0].seed)
      .map(({ twin, seed, judged: { samples, infill, free } }) => {
        const name = nameOf(twin, seed, report);
        return [
          `${name} writes: ${JSON.stringify(samples[0]?.text.slice(0, 160) ?? "")}`,
          ...(free ? [`${name} writes from nothing: ${formatFree(free, 160)}`] : []),
          ...Object.values(infill).map(
            (gaps) => `${name} fills gaps, [written | missing]: ${JSON.stringify(formatGaps(gaps))}`,
          ),
        ].join("\n");
      }),
  ];
}

function likelihoods(twins: readonly TwinSummary[], { runs }: TaskReport): string {
  const shown = table([
    "twin",
    "active / total",
    "steps",
    "s",
    "bits/byte",
    "network",
    "channel alone",
    "gain",
  ]);
  for (const { twin, bitsPerByte, exact, network, channel } of twins) {
    const own = runs.filter((one) => one.twin === twin);
    const [run] = own;
    const million = (value: number) => `${(value / 1e6).toFixed(2)}M`;
    const gain = network === null || channel === null ? null : channel - network;
    shown.push([
      twin,
      `${million(run.parameters.active)} / ${million(run.parameters.total)}`,
      own.map(({ steps }) => steps).join(", "),
      own.map(({ seconds }) => seconds.toFixed(0)).join(", "),
      bitsPerByte === null ? "no bound" : `${exact ? "" : "<= "}${bitsPerByte.toFixed(3)}`,
      nats(network),
      nats(channel),
      nats(gain),
    ]);
  }
  return `${shown.toString()}\nNats a target token, [PAD] included, over the noise levels; masked: an absorbed token, autoregressive: at one level; there the channel says nothing, alone it is the unigram model.`;
}

/** Every twin, and with several seeds the mean of each. */
function scores({ summary: { twins }, runs, metrics }: TaskReport): string {
  const shown = table(["twin", ...metrics]);
  for (const { twin, scores: own, seeds } of twins) {
    shown.push([twin, ...metrics.map((metric) => interval(own[metric]))]);
    for (const { seed, judged } of seeds > 1 ? runs.filter((run) => run.twin === twin) : [])
      shown.push([`- seed ${seed}`, ...metrics.map((metric) => mean(judged.scores[metric]).toFixed(3))]);
  }
  return shown.toString();
}

/** The first twin in other numbers of steps. */
function quality({ runs, metrics: [metric] }: TaskReport): string {
  const points = qualityAgainstSteps(runs, metric).map(
    ({ steps, score }) => `${score.toFixed(3)} in ${steps}`,
  );
  return `${runs[0].twin}, ${metric} against steps: ${points.join(", ")}.`;
}

function textSets(report: TaskReport): string {
  const shown = table(textSetHead);
  shown.push(...textSetRows(report));
  return `${shown.toString()}\n${formatScorer(report.scorer)}`;
}

function ratios({ summary: { ratios: all, twins } }: TaskReport): string {
  const metrics = [...new Set(all.map(({ metric }) => metric))];
  const others = [...new Set(all.map(({ over }) => over))];
  const shown = table([`${twins[0].twin} over`, ...metrics]);
  for (const over of others)
    shown.push([
      over,
      ...metrics.map((metric) =>
        formatRatio(all.find((one) => one.over === over && one.metric === metric)!.value),
      ),
    ]);
  return shown.toString();
}
