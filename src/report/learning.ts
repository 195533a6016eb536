/** @file How a run learned: loss and bits per byte over tokens, and small pictures of what lies behind them. */
import { type LineChart, lineChartSvg, type ReferenceLine, type Series } from "./charts/line-chart.js";
import {
  type MetricsLine,
  numberIn,
  type Point,
  pointsOf,
  type ReportData,
  validationGroups,
} from "./data.js";
import { type Html, html } from "./html.js";
import { decimal } from "./numbers.js";
import { chart, section } from "./page.js";

/** Parts of the loss in words; others keep their names. */
const TERM_NAMES: Readonly<Record<string, string>> = {
  ce: "cross entropy",
  mse: "squared error",
  prior: "prior",
  absorbingNorm: "absorbing norm",
  balance: "balance of experts",
  z: "router z-loss",
};

/** Small pictures of parts of the loss, at most. */
const MAX_TERMS = 9;
const SMALL = { width: 320, height: 190 };

export function learningSection({ metrics, baselines = [] }: ReportData): Html | null {
  const lines = metrics.filter((line) => line.kind === "train" || line.kind === "valid");
  if (lines.length === 0) return null;
  // Tokens where every line has them, else steps: one axis for the whole section.
  const axis = lines.every((line) => numberIn(line, "tokens") !== null) ? "tokens" : "step";
  const xLabel = axis === "tokens" ? "training tokens" : "training step";
  const train = (name: string) => pointsOf(metrics, "train", axis, name);
  const groups = validationGroups(metrics);
  const validations = groups.pop() ?? [];
  const valid = (name: string) => pointsOf(validations, "valid", axis, name);
  /** On other rows than the last: apart, so that no line leads from one to the other. */
  const before = (name: string): Series[] =>
    groups.map((lines) => ({
      name: "on other rows",
      color: "var(--faint)",
      points: pointsOf(lines, "valid", axis, name),
      style: "marked",
    }));
  const references: ReferenceLine[] = baselines.map(({ name, bitsPerByte: value }) => ({
    name: `${name} ${decimal(value)}`,
    value,
  }));

  const small = (heading: string, unit: string, series: readonly Series[], scale: Partial<LineChart> = {}) =>
    series.every((s) => s.points.length === 0)
      ? null
      : chart(
          lineChartSvg({
            ...SMALL,
            description: `${heading} over training`,
            xLabel,
            yLabel: unit,
            series,
            ...scale,
          }),
          "",
          heading,
        );
  const one = (points: readonly Point[], style: Series["style"]): Series[] => [
    { name: "train", color: "var(--train)", points, style },
  ];

  const bits = valid("bitsPerByte");
  const gradNorm = train("gradNorm");
  const bounded = valid("boundNats").length > 0;
  const loss = lineChartSvg({
    description: "Training and validation loss over training",
    xLabel,
    yLabel: "nats per token",
    series: [
      { name: "training", color: "var(--train)", points: train("loss"), style: "noisy" },
      ...before("loss"),
      { name: "validation", color: "var(--valid)", points: valid("loss"), style: "marked" },
    ],
  });
  const bitsChart = () =>
    chart(
      lineChartSvg({
        description: "Validation bits per byte over training, with baselines",
        xLabel,
        yLabel: "",
        height: 300,
        series: [
          ...before("bitsPerByte"),
          { name: "this run", color: "var(--valid)", points: bits, style: "marked" },
        ],
        references,
      }),
      `On the validation documents${sequencesIn(metrics)}.${references.length > 0 ? " Dotted lines: what other models reach there." : ""}`,
      "Bits per byte",
    );
  return section(
    "How it learned",
    null,
    chart(
      loss,
      `Faint: each logged step, at noise levels of its own. Strong: the running mean, which still waves a little with them. Dots: validation on held-out documents, at the same levels each time.${bounded ? " The validation loss weighs noise levels as the bound on the likelihood does, the training loss counts them alike: compare each with itself." : ""}${groups.length > 0 ? " Validations on other texts, or on other rows of theirs, stand apart: they do not compare with the last ones." : ""}`,
      "Loss",
    ),
    html`${bits.length > 0 && bitsChart()}`,
    html`<div class="grid">${[
      small("Learning rate", "", one(train("learningRate"), "line")),
      small("Gradient norm", "before clipping", one(gradNorm, "noisy"), {
        logarithmic: spansDecades(gradNorm),
      }),
      small("Speed", "tokens/s", one(train("tokensPerSecond"), "noisy"), { fromZero: true }),
      ...termNames(metrics).map((term) =>
        small(`Loss, part: ${TERM_NAMES[term] ?? term}`, "", [
          { name: "train", color: "var(--train)", points: train(`terms.${term}`), style: "noisy" },
          { name: "valid", color: "var(--valid)", points: valid(`terms.${term}`), style: "marked" },
        ]),
      ),
    ]}</div>`,
  );
}

/** How much text a point stands for. */
function sequencesIn(metrics: readonly MetricsLine[]): string {
  const counts = metrics.flatMap((line) =>
    line.kind === "valid" ? (numberIn(line, "sequences") ?? []) : [],
  );
  const last = counts.at(-1);
  return last === undefined ? "" : `, ${last} ${last === 1 ? "sequence" : "sequences"} a point`;
}

const spansDecades = (points: readonly Point[]) => {
  const values = points.map((p) => p.y).sort((a, b) => a - b);
  return values.length > 0 && values[0] > 0 && values[values.length - 1] > 30 * values[0];
};

/** Terms of the loss, in order of appearance, if there are several: one alone is the loss itself. */
function termNames(metrics: readonly MetricsLine[]): string[] {
  const names = new Set<string>();
  for (const { kind, terms } of metrics)
    if ((kind === "train" || kind === "valid") && terms !== null && typeof terms === "object")
      for (const [name, value] of Object.entries(terms)) if (typeof value === "number") names.add(name);
  return names.size < 2 ? [] : [...names].slice(0, MAX_TERMS);
}
