import { parseHTML } from "linkedom";
import { expect, it } from "vitest";
import { type CurvesData, curvesReport, curvesSvg } from "./curves-report.js";

const curve = (offset: number) =>
  [1, 2, 3, 4].map((i) => ({ tokens: 1000 * i, seconds: 60 * i, value: offset + 2 / i }));
const data: CurvesData = {
  title: "Experts against dense",
  summary: "The same compute.",
  measure: "bits per byte",
  runs: [
    { name: "experts", points: curve(1), note: "8 experts" },
    { name: "dense <twin>", points: curve(1.1) },
  ],
  baselines: [{ name: "bigram", value: 1.74 }],
  facts: { Machine: "2 cores" },
};

it("draws the runs over tokens and over time, and lists them with the baselines", () => {
  const { document } = parseHTML(curvesReport(data));
  expect(document.querySelectorAll(".chart svg").length).toBe(2);
  const rows = [...document.querySelectorAll("section tbody")][0].querySelectorAll("tr");
  expect([...rows].map((row) => [...row.children].map((cell) => cell.textContent))).toEqual([
    ["experts", "1.50", "1.50", "4k", "4 min", "8 experts"],
    ["dense <twin>", "1.60", "1.60", "4k", "4 min", ""],
    ["bigram", "1.74", "", "", "", "baseline"],
  ]);
  expect(document.querySelectorAll("script").length).toBe(0);
});

it("is the same for the same data", () => {
  expect(curvesReport(data)).toBe(curvesReport(data));
});

it("chooses minutes or hours", () => {
  expect(curvesSvg(data, "seconds")).toContain("training minutes");
  const long = { ...data, runs: [{ name: "long", points: [{ tokens: 1, seconds: 7 * 3600, value: 1 }] }] };
  expect(curvesSvg(long, "seconds")).toContain("training hours");
});

it("bears runs without points, without times, and with gaps", () => {
  const runs = [
    { name: "none", points: [] },
    {
      name: "gaps",
      points: [
        { tokens: 1, seconds: null, value: null },
        { tokens: 2, seconds: null, value: 3 },
      ],
    },
    { name: "broken", points: [{ tokens: Number.NaN, seconds: null, value: Number.NaN }] },
  ];
  const page = curvesReport({ title: "t", measure: "loss", runs });
  expect(page).not.toMatch(/NaN|undefined/);
  expect(parseHTML(page).document.querySelectorAll(".chart svg").length).toBe(1);
  expect(curvesReport({ title: "t", measure: "loss", runs: [] })).toContain("nothing recorded");
});
