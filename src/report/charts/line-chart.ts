/**
 * @file Line charts: training curves, with their names at the ends of the lines instead of in a legend.
 */
import * as Plot from "@observablehq/plot";
import type { Point } from "../data.js";
import { count } from "../numbers.js";
import { renderPlot } from "./plot.js";
import { quantiles, rangeOf, smooth, spread, thin } from "./series.js";

export interface Series {
  readonly name: string;
  /** A CSS colour, best one of the theme's: `var(--train)`. */
  readonly color: string;
  /** In order of x; points that are not finite are left out. */
  readonly points: readonly Point[];
  /**
   * "line"; "marked": a line with a dot at every point; "noisy": the values faint behind their running mean.
   * Default "line". A series of one point is a dot.
   */
  readonly style?: "line" | "marked" | "noisy";
}

/** A value to compare with, drawn as a line across. */
export interface ReferenceLine {
  readonly name: string;
  readonly value: number;
}

export interface LineChart {
  /** What the picture shows, for those who cannot see it. */
  readonly description: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
  readonly references?: readonly ReferenceLine[];
  /** Pixels. Default 1000 x 360. */
  readonly width?: number;
  readonly height?: number;
  /** The y axis begins at 0. Default false. */
  readonly fromZero?: boolean;
  /** Powers of ten on the y axis; values that are not above 0 are left out. Default false. */
  readonly logarithmic?: boolean;
  /** How values of x are printed. Default 12.3k. */
  readonly formatX?: (x: number) => string;
}

const FONT_SIZE = 12;
const LETTER_WIDTH = 6.6;
const LABEL_GAP = 16;
const TOP = 28;
const BOTTOM = 44;
const LEFT = 54;
/** Nearer dots would touch. */
const DOT_GAP = 18;
/** Share of noisy values on each side that may leave the frame. */
const OUTLIERS = 0.02;
/** From here on values of y are printed as 123k, and below as 1.2e-4: labels must fit the margin. */
const LARGE = 1e5;
const TINY = 5e-4;

/** A series ready to be drawn: finite points only, at least one. */
interface DrawnSeries extends Series {
  /** The running mean of a noisy series, else the points. */
  readonly main: readonly Point[];
}

/** An <svg> element: see `renderPlot`. */
export function lineChartSvg(chart: LineChart): string {
  const { width = 1000, height = 360, logarithmic = false } = chart;
  const drawable = ({ x, y }: Point) => Number.isFinite(x) && Number.isFinite(y) && (!logarithmic || y > 0);
  const lines = chart.series
    .map((series) => ({ ...series, points: series.points.filter(drawable) }))
    .filter((series) => series.points.length > 0)
    .map((series) => ({ ...series, main: series.style === "noisy" ? smooth(series.points) : series.points }));
  const references = (chart.references ?? []).filter((line) => drawable({ x: 0, y: line.value }));
  if (lines.length === 0) return emptyChart(chart, width, height);

  const names = [...lines, ...references].map((line) => line.name);
  const labelled = names.length > 1;
  const right = labelled ? 20 + LETTER_WIDTH * Math.max(...names.map((name) => name.length)) : 14;
  const x = rangeOf(
    lines.flatMap((line) => line.main.map((p) => p.x)),
    0,
    false,
  );
  const y: Plot.ScaleOptions = {
    type: logarithmic ? "log" : "linear",
    domain: verticalRange(lines, references, chart),
    range: [height - BOTTOM, TOP],
    nice: logarithmic ? false : 2 * ticksFor(height),
  };
  const scale = Plot.scale({ y });
  const [low, high] = scale.domain as [number, number];
  const inside = (p: Point): Point => ({ x: p.x, y: Math.min(high, Math.max(low, p.y)) });
  return renderPlot(
    {
      width,
      height,
      marginTop: TOP,
      marginBottom: BOTTOM,
      marginLeft: LEFT,
      marginRight: right,
      x: { domain: x },
      y,
      marks: [
        axes(chart, width - LEFT - right, height, [low, high]),
        Plot.ruleY(references, { y: "value", stroke: "var(--baseline)", strokeDasharray: "2,4" }),
        lines
          .filter((line) => line.style === "noisy")
          .map((line) => noise(line.points.map(inside), line.color)),
        lines.map((line) => curve(line.main.map(inside), line, width)),
        labelled ? endLabels(lines, references, (value) => scale.apply(value), height) : null,
      ],
    },
    chart.description,
  );
}

/** Spikes of noise may leave the frame, means and references may not: one spike must not flatten the rest. */
function verticalRange(
  lines: readonly DrawnSeries[],
  references: readonly ReferenceLine[],
  { fromZero = false, logarithmic = false }: LineChart,
): [number, number] {
  const noisy = lines.filter((line) => line.style === "noisy");
  const values = (points: readonly Point[]) => points.map((p) => p.y);
  const [low, high] = rangeOf(
    [
      ...noisy.flatMap((line) => quantiles(values(line.points), OUTLIERS)),
      ...lines.flatMap((line) => values(line.main)),
      ...references.map((line) => line.value),
    ],
    0.03,
    logarithmic,
  );
  return [fromZero && !logarithmic ? 0 : low, high];
}

const ticksFor = (height: number) => Math.max(2, Math.round(height / 65));

function axes(
  { xLabel, yLabel, formatX = count, logarithmic = false }: LineChart,
  frameWidth: number,
  height: number,
  [low, high]: readonly [number, number],
): Plot.Markish[] {
  const text = { fill: "var(--muted)", fontSize: FONT_SIZE };
  const axis = { ...text, tickSize: 0, label: null };
  const ticks = ticksFor(height);
  return [
    Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks }),
    Plot.axisY({
      ...axis,
      ticks,
      // On a logarithmic axis the default writes 0.1 as "100m".
      tickFormat:
        high >= LARGE ? tick(count) : high < TINY ? tick(power) : logarithmic ? tick(String) : undefined,
    }),
    Plot.axisX({ ...axis, ticks: Math.max(2, Math.round(frameWidth / 130)), tickFormat: tick(formatX) }),
    Plot.ruleY([low], { stroke: "var(--faint)" }),
    Plot.text([yLabel], { ...text, frameAnchor: "top-left", lineAnchor: "top", dx: -LEFT, dy: 3 - TOP }),
    Plot.text([xLabel], { ...text, frameAnchor: "bottom-right", lineAnchor: "bottom", dy: BOTTOM - 4 }),
  ];
}

/** Plot calls formatters with (value, index): the index must not reach a second parameter. */
const tick = (format: (value: number) => string) => (value: number) => format(value);

const power = (value: number) => (value === 0 ? "0" : Number(value.toPrecision(3)).toExponential());

/** The names, beside the last points and moved apart where they would overlap. */
function endLabels(
  lines: readonly DrawnSeries[],
  references: readonly ReferenceLine[],
  toPixel: (value: number) => number,
  height: number,
): Plot.Markish[] {
  const labels = [
    ...lines.map(({ name, color, main }) => ({ name, color, value: main[main.length - 1].y, weight: 600 })),
    ...references.map((line) => ({ ...line, color: "var(--baseline)", weight: 400 })),
  ];
  const wanted = labels.map((label) => toPixel(label.value));
  const places = spread(wanted, LABEL_GAP, [TOP, height - BOTTOM]);
  return labels.map(({ name, color, weight }, i) =>
    Plot.text([name], {
      frameAnchor: "top-right",
      textAnchor: "start",
      dx: 10,
      dy: places[i] - TOP,
      lineAnchor: "middle",
      fill: color,
      fontSize: FONT_SIZE,
      fontWeight: weight,
    }),
  );
}

function noise(points: readonly Point[], color: string): Plot.Markish {
  return Plot.line(thin(points), { x: "x", y: "y", stroke: color, strokeOpacity: 0.3, strokeWidth: 1 });
}

function curve(points: readonly Point[], { color, style }: Series, width: number): Plot.Markish[] {
  const dots = points.length === 1 || (style === "marked" && points.length <= width / DOT_GAP);
  return [
    ...(points.length > 1
      ? [Plot.line(thin(points), { x: "x", y: "y", stroke: color, strokeWidth: 2 })]
      : []),
    ...(dots ? [Plot.dot(points, { x: "x", y: "y", r: 3, fill: color, stroke: "var(--surface)" })] : []),
  ];
}

function emptyChart({ yLabel, description }: LineChart, width: number, height: number): string {
  const text = { fill: "var(--muted)", fontSize: FONT_SIZE };
  return renderPlot(
    {
      width,
      height,
      margin: 10,
      axis: null,
      marks: [
        Plot.frame({ stroke: "var(--line)", rx: 4 }),
        Plot.text([`${yLabel}: nothing recorded`], { ...text, frameAnchor: "middle" }),
      ],
    },
    `${description}: nothing recorded`,
  );
}
