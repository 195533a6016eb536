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
const LEFT = 46;
/** Nearer dots would touch. */
const DOT_GAP = 18;
/** Share of noisy values on each side that may leave the frame. */
const OUTLIERS = 0.02;
/** From here on values of y are printed as 123k. */
const LARGE = 1e5;

/** An <svg> element: see `renderPlot`. */
export function lineChartSvg(chart: LineChart): string {
  const { width = 1000, height = 360, logarithmic = false, fromZero = false, formatX = count } = chart;
  const drawable = ({ x, y }: Point) => Number.isFinite(x) && Number.isFinite(y) && (!logarithmic || y > 0);
  const lines = chart.series
    .map((series) => ({ ...series, points: series.points.filter(drawable) }))
    .filter((series) => series.points.length > 0)
    .map((series) => ({
      ...series,
      main: series.style === "noisy" ? smooth(series.points) : series.points,
    }));
  const references = (chart.references ?? []).filter((line) => drawable({ x: 0, y: line.value }));
  if (lines.length === 0) return emptyChart(chart, width, height);

  const x = rangeOf(
    lines.flatMap((line) => line.main.map((p) => p.x)),
    0,
    false,
  );
  // Spikes of noise may leave the frame, means and references may not: one spike must not flatten the rest.
  const [low, high] = rangeOf(
    [
      ...lines.flatMap((line) =>
        line.style === "noisy"
          ? quantiles(
              line.points.map((p) => p.y),
              OUTLIERS,
            )
          : [],
      ),
      ...lines.flatMap((line) => line.main.map((p) => p.y)),
      ...references.map((line) => line.value),
    ],
    0.06,
    logarithmic,
  );
  const y: [number, number] = [fromZero && !logarithmic ? 0 : low, high];
  const inside = (p: Point): Point => ({ x: p.x, y: Math.min(y[1], Math.max(y[0], p.y)) });

  const labels =
    lines.length + references.length === 1
      ? []
      : [
          ...lines.map((line) => ({ ...line, value: line.main[line.main.length - 1].y, weight: 600 })),
          ...references.map((line) => ({ ...line, color: "var(--baseline)", weight: 400 })),
        ];
  const right = Math.max(14, 20 + LETTER_WIDTH * Math.max(0, ...labels.map((label) => label.name.length)));
  const toPixel = pixelScale(y, [height - BOTTOM, TOP], logarithmic);
  const places = spread(
    labels.map((label) => toPixel(label.value)),
    LABEL_GAP,
    [TOP, height - BOTTOM],
  );

  const text = { fill: "var(--muted)", fontSize: FONT_SIZE };
  const yTicks = Math.max(2, Math.round(height / 65));
  const xTicks = Math.max(2, Math.round((width - right) / 130));
  return renderPlot(
    {
      width,
      height,
      marginTop: TOP,
      marginBottom: BOTTOM,
      marginLeft: LEFT,
      marginRight: right,
      x: { domain: x },
      y: { domain: y, type: logarithmic ? "log" : "linear" },
      marks: [
        Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: yTicks }),
        Plot.axisY({
          ...text,
          ticks: yTicks,
          tickSize: 0,
          label: null,
          tickFormat: y[1] >= LARGE ? tick(count) : undefined,
        }),
        Plot.axisX({ ...text, ticks: xTicks, tickSize: 0, label: null, tickFormat: tick(formatX) }),
        Plot.ruleY([y[0]], { stroke: "var(--faint)" }),
        Plot.text([chart.yLabel], {
          ...text,
          frameAnchor: "top-left",
          lineAnchor: "top",
          dx: -LEFT,
          dy: -TOP,
        }),
        Plot.text([chart.xLabel], {
          ...text,
          frameAnchor: "bottom-right",
          lineAnchor: "bottom",
          dy: BOTTOM - 4,
        }),
        Plot.ruleY(references, { y: "value", stroke: "var(--baseline)", strokeDasharray: "2,4" }),
        lines
          .filter((line) => line.style === "noisy")
          .map((line) => noise(line.points.map(inside), line.color)),
        lines.map((line) => curve(line.main.map(inside), line, width)),
        labels.map(({ name, color, weight }, i) =>
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
        ),
      ],
    },
    chart.description,
  );
}

/** Plot counts on (value, index): the index must not reach a formatter's second parameter. */
const tick = (format: (value: number) => string) => (value: number) => format(value);

function pixelScale(domain: [number, number], [from, to]: [number, number], logarithmic: boolean) {
  const [low, high] = logarithmic ? domain.map(Math.log10) : domain;
  return (value: number) =>
    from + (((logarithmic ? Math.log10(value) : value) - low) / (high - low)) * (to - from);
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
