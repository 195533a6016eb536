/**
 * @file Expert load over time, one picture a layer: a row is an expert, colour is its share of the tokens times the number
 * of experts. Even is 1; an expert near 0 is dead.
 */
import * as Plot from "@observablehq/plot";
import type { ExpertLoadSnapshot } from "../data.js";
import { count } from "../numbers.js";
import { LOAD_STEPS } from "../theme.js";
import { renderPlot } from "./plot.js";
import { pick } from "./series.js";

/** Below this an expert is called dead. */
export const DEAD_LOAD = 0.1;

/** Columns of one picture. */
const MAX_COLUMNS = 80;
/** Rows that have room for a number. */
const MAX_NUMBERED = 16;
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

interface Cell {
  readonly from: number;
  to: number;
  readonly expert: number;
  readonly step: number;
}

/**
 * The load of one layer as an <svg> element.
 *
 * @param snapshots in order of step, at least one.
 * @param width pixels. Default 490.
 */
export function expertLoadSvg(snapshots: readonly ExpertLoadSnapshot[], layer: number, width = 490): string {
  const columns = pick(snapshots, MAX_COLUMNS);
  const last = columns[columns.length - 1];
  const experts = last.load[layer].length;
  const rowHeight = Math.max(3, Math.min(16, 200 / experts));
  const numbered = experts <= MAX_NUMBERED;
  const byTokens = columns.every((column) => typeof column.tokens === "number");
  const placeOf = (column: ExpertLoadSnapshot) => (byTokens ? (column.tokens as number) : column.step);

  // Neighbours of one colour are one rectangle: a balanced layer is a handful of them.
  const cells: Cell[] = [];
  for (let expert = 0; expert < experts; expert++) {
    for (let i = 0; i < columns.length; i++) {
      const step = loadStep(columns[i].load[layer][expert] ?? 0);
      const before = cells[cells.length - 1];
      if (before?.expert === expert && before.step === step) before.to = i + 1;
      else cells.push({ from: i, to: i + 1, expert, step });
    }
  }
  const text = { fill: "var(--muted)", fontSize: 11 };
  const everyRow = Array.from({ length: experts }, (_, expert) => expert);
  const [top, bottom, left, right] = [4, 22, 26, numbered ? 44 : 12];
  const inset = rowHeight > 6 ? 0.75 : 0;
  return renderPlot(
    {
      width,
      height: top + bottom + Math.round(rowHeight * experts),
      marginTop: top,
      marginBottom: bottom,
      marginLeft: left,
      marginRight: right,
      x: { domain: [0, columns.length], axis: null },
      y: { domain: [0, experts], axis: null, reverse: true },
      marks: [
        Plot.rect(cells, {
          x1: "from",
          x2: "to",
          y1: "expert",
          y2: (cell: Cell) => cell.expert + 1,
          fill: (cell: Cell) => `var(--load-${cell.step})`,
          insetTop: inset,
          insetBottom: inset,
        }),
        Plot.text(
          everyRow.filter((expert) => numbered || expert % 8 === 0),
          {
            ...text,
            frameAnchor: "left",
            textAnchor: "end",
            dx: -6,
            y: (expert: number) => expert + 0.5,
            text: (expert: number) => String(expert),
          },
        ),
        Plot.text(numbered ? everyRow : [], {
          ...text,
          frameAnchor: "right",
          textAnchor: "start",
          dx: 6,
          y: (expert: number) => expert + 0.5,
          text: (expert: number) => `${last.load[layer][expert].toFixed(2)}×`,
        }),
        Plot.text([count(placeOf(columns[0]))], {
          ...text,
          frameAnchor: "bottom-left",
          lineAnchor: "top",
          dy: 6,
        }),
        Plot.text([`${count(placeOf(last))} ${byTokens ? "tokens" : "steps"}`], {
          ...text,
          frameAnchor: "bottom-right",
          lineAnchor: "top",
          dy: 6,
        }),
      ],
    },
    `Load of the ${experts} experts of layer ${layer} over training`,
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
