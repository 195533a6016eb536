import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import { type LineChart, lineChartSvg } from "./line-chart.js";

const chart = (changes: Partial<LineChart> = {}): LineChart => ({
  description: "A loss",
  xLabel: "tokens",
  yLabel: "nats",
  series: [
    { name: "train", color: "var(--train)", points: [0, 1, 2, 3].map((x) => ({ x: 1000 * x, y: 9 - x })) },
  ],
  ...changes,
});

function draw(changes: Partial<LineChart> = {}) {
  const markup = lineChartSvg(chart(changes));
  const svg = parseHTML(`<html><body>${markup}</body></html>`).document.querySelector("svg");
  if (svg === null) throw new Error("no svg");
  return { markup, svg, texts: [...svg.querySelectorAll("text")].map((text) => text.textContent) };
}

describe("lineChartSvg", () => {
  it("draws the line, the axes and the description", () => {
    const { svg, texts } = draw();
    expect(svg.getAttribute("aria-label")).toBe("A loss");
    expect(svg.getAttribute("width")).toBe("1000");
    expect(svg.querySelectorAll('[stroke="var(--train)"] path, path[stroke="var(--train)"]').length).toBe(1);
    expect(texts).toEqual(expect.arrayContaining(["nats", "tokens", "1k", "3k", "6.0", "9.0"]));
  });

  it("names lines and references at their ends, when there are several", () => {
    const names = ["train", "bigram 1.74"];
    expect(draw().texts).not.toContain("train");
    expect(draw({ references: [{ name: "bigram 1.74", value: 7 }] }).texts).toEqual(
      expect.arrayContaining(names),
    );
  });

  it("leaves out what is not finite, and draws one point as a dot", () => {
    const points = [
      { x: 0, y: Number.NaN },
      { x: 1, y: 2 },
      { x: Number.POSITIVE_INFINITY, y: 2 },
    ];
    const { svg, markup } = draw({ series: [{ name: "s", color: "var(--valid)", points, style: "noisy" }] });
    expect(svg.querySelectorAll("circle").length).toBe(1);
    expect(markup).not.toContain("NaN");
    expect(markup).not.toContain("Infinity");
  });

  it("says so when there is nothing to draw", () => {
    expect(draw({ series: [] }).texts).toEqual(["nats: nothing recorded"]);
    const negative = [{ name: "s", color: "red", points: [{ x: 0, y: -1 }] }];
    expect(draw({ series: negative, logarithmic: true }).texts).toEqual(["nats: nothing recorded"]);
  });

  it("keeps a spike from flattening the rest", () => {
    const points = Array.from({ length: 200 }, (_, x) => ({ x, y: x === 100 ? 1e6 : 5 + (x % 7) / 10 }));
    const { texts } = draw({ series: [{ name: "s", color: "red", points, style: "noisy" }] });
    // The running mean, which must be inside, spreads the spike over a few steps; the spike itself leaves the frame.
    expect(texts).not.toContain("1M");
  });

  it("writes decimals on a logarithmic axis", () => {
    const points = [0.01, 0.1, 1, 10].map((y, x) => ({ x, y }));
    const { texts } = draw({ series: [{ name: "s", color: "red", points }], logarithmic: true });
    expect(texts).toEqual(expect.arrayContaining(["0.1", "1"]));
    expect(texts.join(" ")).not.toMatch(/\dm\b/);
  });

  it("prints tiny and large values short", () => {
    const series = (y: number) => [{ name: "s", color: "red", points: [0, y].map((v, x) => ({ x, y: v })) }];
    expect(draw({ series: series(2e-5), height: 190 }).texts).toEqual(expect.arrayContaining(["0", "1e-5"]));
    expect(draw({ series: series(2e6), height: 190 }).texts).toEqual(expect.arrayContaining(["0", "1M"]));
  });

  it("escapes names and descriptions", () => {
    const evil = `<script>"&'\u0000`;
    const { markup, svg, texts } = draw({ description: evil, references: [{ name: evil, value: 7 }] });
    expect(markup).not.toContain("<script>");
    expect(markup).not.toContain("\u0000");
    expect(svg.getAttribute("aria-label")).toBe(`<script>"&'\ufffd`);
    expect(texts).toContain(`<script>"&'\ufffd`);
  });

  it("gives equal bytes for equal data, in colours of the theme, without a style sheet", () => {
    expect(lineChartSvg(chart())).toBe(lineChartSvg(chart()));
    expect(lineChartSvg(chart())).not.toContain("<style");
    expect(lineChartSvg(chart())).not.toMatch(/\d\.\d\d\d/);
  });
});
