/**
 * @file Several runs against each other: their validation curves over tokens and over time, with what they are to beat.
 */
import { lineChartSvg, type ReferenceLine, type Series } from "./charts/line-chart.js";
import type { Point } from "./data.js";
import { type Html, html } from "./html.js";
import { count, decimal, duration } from "./numbers.js";
import { chart, factsTable, page, section } from "./page.js";
import { seriesColor } from "./theme.js";

/** One measurement of a run; null where it is not known. */
export interface CurvePoint {
  readonly tokens: number | null;
  /** Training time. */
  readonly seconds: number | null;
  /** The measure of the report. Lower is better. */
  readonly value: number | null;
}

export interface RunCurve {
  readonly name: string;
  readonly points: readonly CurvePoint[];
  /** What is special about it, for the table. */
  readonly note?: string;
}

export interface CurvesData {
  readonly title: string;
  /** What is compared and what it shows, in a few sentences. */
  readonly summary?: string;
  /** What is measured: "validation bits per byte". */
  readonly measure: string;
  readonly runs: readonly RunCurve[];
  /** Drawn as lines across, in the unit of the measure. */
  readonly baselines?: readonly ReferenceLine[];
  /** Rows of the table of facts. */
  readonly facts?: Readonly<Record<string, string | number>>;
}

const along = (run: RunCurve, axis: "tokens" | "seconds"): Point[] =>
  run.points
    .flatMap((point) => {
      const x = point[axis];
      return x !== null && point.value !== null ? [{ x, y: point.value }] : [];
    })
    .filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y))
    .sort((a, b) => a.x - b.x);

/**
 * The curves as one <svg> element.
 *
 * @param axis what runs along x: training tokens, or training time.
 */
export function curvesSvg(
  { measure, runs, baselines = [] }: Pick<CurvesData, "measure" | "runs" | "baselines">,
  axis: "tokens" | "seconds",
  size: { readonly width?: number; readonly height?: number } = {},
): string {
  const series = runs.map(
    (run, i): Series => ({
      name: run.name,
      color: seriesColor(i),
      points: along(run, axis),
      style: "marked",
    }),
  );
  const minutes = series.reduce((most, s) => Math.max(most, s.points.at(-1)?.x ?? 0), 0) / 60;
  const inHours = minutes > 180;
  const unit = inHours ? 3600 : 60;
  const scaled = series.map((s) => ({ ...s, points: s.points.map(({ x, y }) => ({ x: x / unit, y })) }));
  return lineChartSvg({
    ...size,
    description: `${measure} of ${runs.map((run) => run.name).join(", ")} over ${axis === "tokens" ? "tokens" : "time"}`,
    xLabel: axis === "tokens" ? "training tokens" : `training ${inHours ? "hours" : "minutes"}`,
    yLabel: measure,
    series: axis === "tokens" ? series : scaled,
    references: baselines.map(({ name, value }) => ({ name: `${name} ${decimal(value)}`, value })),
  });
}

/** One self-contained HTML file. */
export function curvesReport(data: CurvesData): string {
  const rows = data.runs.map((run, i) => tableRow(run, seriesColor(i)));
  const measured = (axis: "tokens" | "seconds") => data.runs.some((run) => along(run, axis).length > 0);
  const notes = data.runs.some((run) => run.note);
  const body = html`${data.summary && html`<p class="summary">${data.summary}</p>`}
${section(
  "At equal tokens and at equal time",
  null,
  (measured("tokens") || !measured("seconds")) &&
    chart(curvesSvg(data, "tokens"), "Equal tokens: who learns more from the same text.", "Over tokens"),
  measured("seconds") &&
    chart(curvesSvg(data, "seconds"), "Equal time: who learns more on the same machine.", "Over time"),
)}
${section(
  "In numbers",
  null,
  html`<div class="scroll"><table><thead><tr><th scope="col">Run</th><th scope="col" class="number">Last</th><th scope="col" class="number">Best</th><th scope="col" class="number">Tokens</th><th scope="col" class="number">Time</th>${notes && html`<th scope="col">Note</th>`}</tr></thead><tbody>${rows.map((row) => html`<tr><th scope="row">${row.name}</th><td class="number">${row.last}</td><td class="number">${row.best}</td><td class="number">${row.tokens}</td><td class="number">${row.time}</td>${notes && html`<td>${row.note}</td>`}</tr>`)}${(data.baselines ?? []).map((line) => html`<tr><th scope="row">${line.name}</th><td class="number">${decimal(line.value)}</td><td></td><td></td><td></td>${notes && html`<td>baseline</td>`}</tr>`)}</tbody></table></div>`,
)}
${data.facts && section("Conditions", null, factsTable(Object.entries(data.facts).map(([name, value]) => [name, String(value)])))}`;
  return page({ title: data.title, kind: "MoE-DiffuSeq comparison", body });
}

function tableRow(run: RunCurve, color: string) {
  const values = run.points.flatMap((p) => (p.value !== null && Number.isFinite(p.value) ? [p.value] : []));
  const most = (axis: "tokens" | "seconds") => along(run, axis).at(-1)?.x;
  const seconds = most("seconds");
  const name: Html = html`<span class="key" style="background:${color}"></span>${run.name}`;
  return {
    name,
    last: decimal(values.at(-1)),
    best: decimal(values.length > 0 ? Math.min(...values) : null),
    tokens: count(most("tokens")),
    time: seconds === undefined ? "–" : duration(seconds / 60),
    note: run.note ?? "",
  };
}
