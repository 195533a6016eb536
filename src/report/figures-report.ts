/** @file A page of tables and line charts under headings, from plain data: what does not need a layout of its own. */
import { type LineChart, lineChartSvg } from "./charts/line-chart.js";
import { html } from "./html.js";
import { chart, factsTable, page, section } from "./page.js";

export interface FiguresTable {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface FiguresSection {
  readonly heading: string;
  /** What the figures say, and what they do not. */
  readonly lead?: string;
  readonly table?: FiguresTable;
  readonly charts?: readonly {
    readonly heading: string;
    readonly note?: string;
    readonly chart: LineChart;
  }[];
  /** Command lines, each under what it is for. */
  readonly commands?: readonly { readonly note: string; readonly command: string }[];
  /** Quoted texts, each under what it is. */
  readonly texts?: readonly { readonly label: string; readonly text: string }[];
}

export interface FiguresData {
  readonly title: string;
  readonly summary: string;
  readonly sections: readonly FiguresSection[];
  /** Rows of the table of conditions. */
  readonly facts?: Readonly<Record<string, string | number>>;
}

/** One self-contained HTML file. */
export function figuresReport({ title, summary, sections, facts }: FiguresData): string {
  const tableOf = ({ head, rows }: FiguresTable) =>
    html`<div class="scroll"><table class="figures"><thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>${rows.map(([name, ...cells]) => html`<tr><th scope="row">${name}</th>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></div>`;
  const body = html`<p class="summary">${summary}</p>
${sections.map(({ heading, lead = null, table, charts = [], commands = [], texts = [] }) =>
  section(
    heading,
    lead,
    table && tableOf(table),
    charts.map((one) => chart(lineChartSvg(one.chart), one.note ?? "", one.heading)),
    commands.length > 0 &&
      html`<ul class="commands">${commands.map(({ note, command }) => html`<li><p>${note}</p><code>${command}</code></li>`)}</ul>`,
    texts.map(
      ({ label, text }) => html`<p class="note">${label}</p><div class="text prose"><div>${text}</div></div>`,
    ),
  ),
)}
${facts && section("Conditions", null, factsTable(Object.entries(facts).map(([name, value]) => [name, String(value)])))}`;
  return page({ title, kind: "MoE-DiffuSeq figures", body });
}
