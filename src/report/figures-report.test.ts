import { expect, it } from "vitest";
import { type FiguresData, figuresReport } from "./figures-report.js";

const data: FiguresData = {
  title: "Figures <1>",
  summary: "What they say.",
  sections: [
    {
      heading: "A table",
      lead: "Its lead.",
      table: { head: ["name", "value"], rows: [["first & last", "x1.19"]] },
    },
    {
      heading: "A chart",
      charts: [
        {
          heading: "Over length",
          chart: {
            description: "time over length",
            xLabel: "positions",
            yLabel: "ms",
            series: [
              {
                name: "ours",
                color: "var(--series-0)",
                points: [
                  { x: 1, y: 2 },
                  { x: 2, y: 3 },
                ],
              },
            ],
          },
        },
      ],
    },
    { heading: "Commands", commands: [{ note: "again", command: "moe-diffuseq bench" }] },
    { heading: "Texts", texts: [{ label: "ours writes", text: "<script>" }] },
  ],
  facts: { load: 0.5 },
};

it("shows tables, charts, commands and texts under their headings, and escapes them", () => {
  const page = figuresReport(data);
  for (const part of [
    "<h1>Figures &lt;1&gt;</h1>",
    "<h2>A table</h2>",
    "first &amp; last",
    "<td>x1.19</td>",
    "<h3>Over length</h3>",
    "<svg ",
    "<code>moe-diffuseq bench</code>",
    "ours writes",
    "&lt;script&gt;",
    "<td>0.5</td>",
  ])
    expect(page).toContain(part);
  expect(page).not.toContain("<script>");
  expect(figuresReport(data)).toBe(page);
});

it("leaves out what is not there", () => {
  const page = figuresReport({ title: "t", summary: "s", sections: [{ heading: "h" }] });
  expect(page).not.toMatch(/<table|<svg|class="commands"|Conditions/);
});
