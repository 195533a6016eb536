/** @file An evaluation as text: tables of at most 100 columns, without colours. */
import Table from "cli-table3";
import type { ExpertUse } from "../diffusion/expert-use.js";
import type { NgramBaselines } from "./baselines.js";
import type { EvaluationReport, QuantizedLoss } from "./evaluate.js";
import type { HeldOutLoss } from "./held-out-loss.js";
import type { Comparison, LevelResult } from "./levels.js";
import type { Estimate } from "./statistics.js";

/** The report as people read it. */
export function formatEvaluation(report: EvaluationReport): string {
  const { run, loss, quantized, levels, ngrams, experts, notes } = report;
  return [
    header(report),
    lossLines(loss),
    ...(loss.bound || ngrams ? [likelihoodTable(loss, ngrams, run.exact)] : []),
    ...(quantized ? [quantizedLine(loss, quantized)] : []),
    ...(levels.length > 0 && !run.exact ? [levelTable(levels, run.masked)] : []),
    ...(experts ? [expertTable(experts)] : []),
    ...notes.map((note) => `Note: ${note}`),
  ].join("\n\n");
}

function header({ run, data, loss }: EvaluationReport): string {
  const { trained } = run;
  const after = trained ? `, after ${whole(trained.steps)} steps, ${whole(trained.tokens)} tokens` : "";
  return [
    `${run.path}: ${run.preset ?? "no preset"}, ${whole(run.parameters)} parameters${after}`,
    `On ${amount(loss.sequences, "sequence")} of ${data.length} positions, from ${amount(loss.documents, "document")}: ${whole(loss.tokens)} target tokens, ${whole(loss.bytes)} bytes`,
    `(${data.source})`,
  ].join("\n");
}

function lossLines({ loss, terms, crossEntropy, bound, draws }: HeldOutLoss): string {
  const parts = Object.entries(terms).map(([name, value]) => `${name} ${value.toFixed(4)}`);
  const times = draws > 1 ? `, ${draws} draws of noise` : "";
  const where = bound ? "on absorbed tokens" : "on target tokens, over all noise levels";
  return [
    `Loss ${loss.toFixed(4)}${times}: ${parts.join(", ")}`,
    `Cross entropy ${plusMinus(crossEntropy)} nats ${where}`,
  ].join("\n");
}

/** What eight bits cost. */
function quantizedLine({ crossEntropy }: HeldOutLoss, { loss, boundIncrease }: QuantizedLoss): string {
  const rise = loss.crossEntropy.mean - crossEntropy.mean;
  const bound = boundIncrease
    ? `; the bound rises by ${plusMinus(boundIncrease)} bits per byte to ${plusMinus(loss.bound!.bitsPerByte)}`
    : "";
  return `Weights in eight bits: cross entropy ${plusMinus(loss.crossEntropy)} nats (${rise < 0 ? "" : "+"}${rise.toFixed(4)})${bound}`;
}

/** What the model needs (at most, unless it is exact) to write the text, and what n-grams need. */
function likelihoodTable(loss: HeldOutLoss, ngrams: NgramBaselines | null, exact: boolean): string {
  const { bound } = loss;
  const behind = ngrams?.behind ?? null;
  const table = newTable([
    "held-out text",
    "nats/token",
    "bits/byte",
    ...(behind ? ["above this model"] : []),
  ]);
  if (bound)
    table.push([
      exact ? "this model" : "this model, at most",
      plusMinus(bound.natsPerToken),
      plusMinus(bound.bitsPerByte),
      ...(behind ? [""] : []),
    ]);
  for (const order of ["trigram", "bigram", "unigram"] as const) {
    if (!ngrams) continue;
    const { natsPerToken, bitsPerByte } = ngrams[order];
    table.push([
      `${order}, same tokens`,
      natsPerToken.toFixed(4),
      bitsPerByte?.toFixed(4) ?? "-",
      ...(behind ? [signed(plusMinus(behind[order]))] : []),
    ]);
  }
  const rounds =
    ngrams && ngrams.epochs > 1 ? ` (the model went ${ngrams.epochs.toFixed(1)} times through)` : "";
  return [
    render(table),
    ...(bound && !exact ? [boundLine(loss)] : []),
    ...(bound ? errorLine(loss) : []),
    ...(ngrams ? [`N-grams learned from ${whole(ngrams.trainTokens)} tokens of text${rounds}.`] : []),
    ...(bound ? [] : ["A continuous process gives no bound: hold the model against the channel, below."]),
  ].join("\n");
}

/** What the bound is made of: the bound itself is an expectation, this an estimate of it. */
function boundLine({ sequences, draws }: HeldOutLoss): string {
  const noise = draws === 1 ? "1 draw of noise" : `${whole(draws)} draws of noise`;
  return `At most: an upper bound, estimated from ${amount(sequences, "sequence")}, ${noise} each.`;
}

/** What ± is, if it is there. */
function errorLine({ documents, draws }: HeldOutLoss): string[] {
  if (documents > 1) return [`±: standard error over ${amount(documents, "document")}.`];
  return draws > 1 ? ["±: by the noise alone, as all is of one document."] : [];
}

function levelTable(levels: readonly LevelResult[], masked: boolean): string {
  const apart = levels.some(({ absorbed, gaussian }) => absorbed ?? gaussian);
  const baseline = masked ? "unigram" : "channel";
  const table = newTable([
    "t",
    masked ? "masked" : "absorbed",
    "model",
    baseline,
    "gain",
    ...(apart ? ["absorbed: model", "unigram", "noisy: model", "channel"] : []),
  ]);
  const pair = (comparison: Comparison | null) =>
    comparison ? [comparison.model.toFixed(3), comparison.channel.toFixed(3)] : ["-", "-"];
  for (const { time, absorbedShare, targets, absorbed, gaussian } of levels)
    table.push([
      String(Number(time.toFixed(4))),
      `${(100 * absorbedShare).toFixed(0)} %`,
      ...pair(targets),
      targets ? gainOf(targets) : "-",
      ...(apart ? [...pair(absorbed), ...pair(gaussian)] : []),
    ]);
  const what = masked
    ? "Nats a masked token; unigram: frequencies alone."
    : "Nats a token; channel: what the noisy codes and the unigram frequencies say without a network.";
  return [render(table), what, "Gain above 0: context helps (± its standard error over documents)."].join(
    "\n",
  );
}

/** Smallest and largest load by layer and level, and dead experts. */
function expertTable({ numExperts, times, layers, dead }: ExpertUse): string {
  const table = newTable([
    "layer",
    ...times.map((time) => `t ${Number(time.toFixed(4))}`),
    "dead",
    "entropy",
  ]);
  for (const [layer, levels] of layers.entries()) {
    const mean = (value: (level: (typeof levels)[number]) => number) =>
      levels.reduce((sum, level) => sum + value(level), 0) / levels.length;
    table.push([
      String(layer),
      ...levels.map(({ load }) => `${Math.min(...load).toFixed(2)}-${Math.max(...load).toFixed(2)}`),
      `${(100 * mean((level) => level.dead)).toFixed(0)} %`,
      mean((level) => level.entropy).toFixed(2),
    ]);
  }
  return [
    render(table),
    `Least and most loaded of ${numExperts} experts (1: an even share); router entropy in nats, at most ${Math.log(numExperts).toFixed(2)}.`,
    `Dead in a layer at every level: ${(100 * dead).toFixed(0)} % of the experts.`,
  ].join("\n");
}

const gainOf = ({ gain, gainError }: Comparison): string =>
  `${signed(gain.toFixed(3))}${gainError === null ? "" : ` ±${gainError.toFixed(3)}`}`;

const signed = (number: string): string => (number.startsWith("-") ? number : `+${number}`);

const plusMinus = ({ mean, standardError }: Estimate): string =>
  `${mean.toFixed(4)}${standardError === null ? "" : ` ±${standardError.toFixed(4)}`}`;

const amount = (count: number, what: string): string => `${whole(count)} ${what}${count === 1 ? "" : "s"}`;

const whole = (value: number): string => value.toLocaleString("en-US");

/** Without spaces at the ends of lines. */
const render = (table: Table.Table): string => table.toString().replace(/ +$/gm, "");

/** A table with nothing but a rule under its head; numbers stand right. */
function newTable(head: string[]): Table.Table {
  const none = [
    ...["top", "top-mid", "top-left", "top-right", "bottom", "bottom-mid", "bottom-left", "bottom-right"],
    ...["left", "left-mid", "mid-mid", "right", "right-mid", "mid"],
  ];
  return new Table({
    head,
    colAligns: head.map((_, column) => (column === 0 ? "left" : "right")),
    chars: { ...Object.fromEntries(none.map((name) => [name, ""])), middle: " " },
    style: { head: [], border: [], "padding-left": 0, "padding-right": 1, compact: true },
  });
}
