/**
 * @file Expert load over time, one picture a layer: a row is an expert, colour is its share of the tokens times the number
 * of experts. Even is 1; an expert near 0 is dead.
 */
import type { ExpertLoadSnapshot } from "../data.js";
import { count } from "../numbers.js";
import { LOAD_STEPS } from "../theme.js";
import { pick } from "./series.js";
import { colorPaths, svgCells, svgElement, svgText } from "./svg.js";

/** An expert with less than this share of an even load is called dead, as in `metrics.jsonl`. */
export const DEAD_LOAD = 0.01;

/** Columns of one picture. */
const MAX_COLUMNS = 64;
/** Rows that have room for a number. */
const MAX_NUMBERED = 16;
/** Rows that are high enough to stand apart. */
const GAP_FROM = 8;
/** A step of colour for every factor of 2^(1/2) away from even. */
const STEPS_PER_DOUBLING = 2;

/** Colour step of a load: 0 (starved) to LOAD_STEPS - 1 (overloaded), the middle for even. */
export function loadStep(load: number): number {
  const middle = (LOAD_STEPS - 1) / 2;
  const steps = Math.round(Math.log2(Math.max(load, 1e-9)) * STEPS_PER_DOUBLING);
  return middle + Math.max(-middle, Math.min(middle, steps));
}

/** The load at which a colour step stands: 1/4, ..., 1, ..., 4. */
export function loadOfStep(step: number): number {
  return 2 ** ((step - (LOAD_STEPS - 1) / 2) / STEPS_PER_DOUBLING);
}

/**
 * The load of one layer as an <svg> element.
 *
 * @param snapshots in order of step, at least one; every one has this layer.
 * @param width pixels. Default 490.
 */
export function expertLoadSvg(snapshots: readonly ExpertLoadSnapshot[], layer: number, width = 490): string {
  const columns = pick(snapshots, MAX_COLUMNS);
  const [first, last] = [columns[0], columns[columns.length - 1]];
  const experts = [...last.load[layer].keys()];
  const numbered = experts.length <= MAX_NUMBERED;
  const rowHeight = Math.max(3, Math.min(16, 200 / experts.length));
  const [left, right, top, bottom] = [26, numbered ? 44 : 12, 4, 20];
  const frame = { width: width - left - right, height: Math.round(rowHeight * experts.length) };
  const byTokens = columns.every((column) => typeof column.tokens === "number");
  const when = (column: ExpertLoadSnapshot) => count(byTokens ? column.tokens : column.step);

  const steps = experts.flatMap((expert) =>
    columns.map((column) => loadStep(column.load[layer][expert] ?? 0)),
  );
  const baseline = (expert: number) => Number(((expert + 0.5) * rowHeight + 4).toFixed(1));
  const gaps = experts.slice(1).map((expert) => `M0 ${expert}H${columns.length}`);
  return svgElement(
    {
      width,
      height: top + frame.height + bottom,
      description: `Load of the ${experts.length} experts of layer ${layer} over training`,
    },
    `<g transform="translate(${left} ${top})">`,
    svgCells(
      frame.width / columns.length,
      rowHeight,
      colorPaths(steps, columns.length, (step) => `var(--load-${step})`),
      rowHeight >= GAP_FROM ? `<path d="${gaps.join("")}" stroke="var(--surface)" stroke-width="0.1"/>` : "",
    ),
    ...experts
      .filter((expert) => numbered || expert % 8 === 0)
      .map((expert) => svgText(-6, baseline(expert), "end", String(expert))),
    ...(numbered ? experts : []).map((expert) =>
      svgText(frame.width + 6, baseline(expert), "start", `${last.load[layer][expert].toFixed(2)}×`),
    ),
    svgText(0, frame.height + 16, "start", when(first)),
    svgText(frame.width, frame.height + 16, "end", `${when(last)} ${byTokens ? "tokens" : "steps"}`),
    "</g>",
  );
}

export interface LoadSummary {
  readonly lowest: number;
  readonly highest: number;
  readonly dead: number;
}

/** Lowest and highest load of a layer in a snapshot, and how many of its experts are dead. */
export function summariseLoad(load: readonly number[]): LoadSummary {
  return {
    lowest: Math.min(...load),
    highest: Math.max(...load),
    dead: load.filter((share) => share < DEAD_LOAD).length,
  };
}
