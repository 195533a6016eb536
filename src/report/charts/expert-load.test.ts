import { parseHTML } from "linkedom";
import { expect, it } from "vitest";
import { DEAD_LOAD as DEAD_IN_METRICS } from "../../diffusion/expert-use.js";
import { LOAD_STEPS } from "../theme.js";
import { DEAD_LOAD, expertLoadSvg, loadOfStep, loadStep, summariseLoad } from "./expert-load.js";

const snapshots = (...loads: number[][]) =>
  loads.map((load, i) => ({ step: i, tokens: 1000 * i, load: [load] }));
const parse = (svg: string) => parseHTML(`<html><body>${svg}</body></html>`).document;

it("has a step of colour for every load, even in the middle", () => {
  expect([0, 0.01, 0.25, 1, 4, 100].map(loadStep)).toEqual([0, 0, 0, 4, LOAD_STEPS - 1, LOAD_STEPS - 1]);
  for (let step = 0; step < LOAD_STEPS; step++) expect(loadStep(loadOfStep(step))).toBe(step);
});

it("draws neighbours of one colour as one rectangle and prints the last loads", () => {
  const document = parse(expertLoadSvg(snapshots([1, 1], [1, 4], [1, 0.1]), 0));
  const paths = [...document.querySelectorAll("path[fill]")].map((path) => [
    path.getAttribute("fill"),
    path.getAttribute("d"),
  ]);
  expect(paths).toEqual([
    ["var(--load-0)", "M2 1h1v1h-1z"],
    ["var(--load-4)", "M0 0h3v1h-3zM0 1h1v1h-1z"],
    ["var(--load-8)", "M1 1h1v1h-1z"],
  ]);
  const texts = [...document.querySelectorAll("text")].map((text) => text.textContent);
  expect(texts).toEqual(expect.arrayContaining(["0", "1", "1.00×", "0.10×", "2k tokens"]));
});

it("draws one snapshot, many experts, and steps where tokens are not known", () => {
  const many = Array.from({ length: 128 }, () => 1);
  const document = parse(expertLoadSvg([{ step: 7, load: [many] }], 0));
  expect(document.querySelector("path")?.getAttribute("d")?.match(/M/g)?.length).toBe(128);
  expect(document.querySelector("svg")?.textContent).toContain("7 steps");
});

it("counts the dead as metrics do", () => {
  expect(DEAD_LOAD).toBe(DEAD_IN_METRICS);
  expect(summariseLoad([0.005, 0.01, 2])).toEqual({ lowest: 0.005, highest: 2, dead: 1 });
});
