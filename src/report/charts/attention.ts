/**
 * @file The picture of an attention pattern: a square of queries (rows) against keys (columns).
 *
 * It is drawn coarser than the mask: a cell stands for a square of pairs, and the share of them that is seen is its
 * strength, separately for pairs that are seen through the window and for pairs that a global position is part of.
 */
import type { AttentionHeads, AttentionPattern } from "../data.js";
import { exact, percent } from "../numbers.js";
import { shadePaths, svgCells, svgElement, svgText } from "./svg.js";

/** Cells a side, at most. */
const MAX_CELLS = 128;
const SIDE = 300;

/** Shares of seen pairs, 0 to 1. [cells, cells] row-major. */
export interface CoarseMask {
  readonly cells: number;
  /** Pairs without a global position. */
  readonly local: Float64Array;
  /** Pairs with one, where that matters: full attention needs none. */
  readonly global: Float64Array;
}

/** Number of cells for `length` positions: all alike where a divisor of the length is near the limit, which spares dilated windows a moiré. */
function cellsFor(length: number, limit: number): number {
  for (let cells = Math.min(limit, length); cells >= limit / 2; cells--)
    if (length % cells === 0) return cells;
  return Math.min(limit, length);
}

/** The mask in at most `limit` cells a side, each over an equal stretch of positions (to one). */
export function coarsen(
  { mask, full }: AttentionHeads,
  { isGlobal, length }: AttentionPattern,
  limit: number,
): CoarseMask {
  const cells = cellsFor(length, limit);
  const cellOf = Uint32Array.from({ length }, (_, i) => Math.floor((i * cells) / length));
  const sizes = new Uint32Array(cells);
  for (const cell of cellOf) sizes[cell]++;
  const local = new Float64Array(cells * cells);
  const global = new Float64Array(cells * cells);
  for (let i = 0; i < length; i++)
    for (let j = 0; j < length; j++) {
      if (!mask[i * length + j]) continue;
      const share = 1 / (sizes[cellOf[i]] * sizes[cellOf[j]]);
      (!full && (isGlobal[i] || isGlobal[j]) ? global : local)[cellOf[i] * cells + cellOf[j]] += share;
    }
  return { cells, local, global };
}

/** Share of all pairs that a pattern sees. */
export function shareSeen(heads: AttentionHeads, length: number): number {
  let seen = 0;
  for (let i = 0; i < length * length; i++) if (heads.mask[i]) seen++;
  return seen / Math.max(1, length * length);
}

/** "window of 128 each side, in steps of 2, 16 global positions" */
function patternWords({ full, window, dilation }: AttentionHeads, { isGlobal }: AttentionPattern): string {
  if (full) return "full attention";
  const globals = Array.from(isGlobal).filter(Boolean).length;
  return [
    `window of ${exact(window)} each side`,
    dilation > 1 ? `in steps of ${exact(dilation)}` : "",
    globals > 0 ? `${exact(globals)} global ${globals === 1 ? "position" : "positions"}` : "",
  ]
    .filter((part) => part !== "")
    .join(", ");
}

const shareWords = (heads: AttentionHeads, { length }: AttentionPattern) =>
  `sees ${percent(shareSeen(heads, length))} of all pairs`;

/** "window of 128 each side, 16 global positions: sees 13 % of all pairs" */
export function describeHeads(heads: AttentionHeads, pattern: AttentionPattern): string {
  return `${patternWords(heads, pattern)}: ${shareWords(heads, pattern)}`;
}

/** One group of heads as an <svg> element. */
export function attentionSvg(heads: AttentionHeads, pattern: AttentionPattern): string {
  const { cells, local, global } = coarsen(heads, pattern, MAX_CELLS);
  return svgElement(
    {
      width: SIDE + 26,
      height: SIDE + 26,
      description: `Attention of ${heads.label}: ${describeHeads(heads, pattern)}`,
    },
    `<g transform="translate(25 1)"><rect width="${SIDE}" height="${SIDE}" fill="var(--paper)"/>`,
    svgCells(
      SIDE / cells,
      SIDE / cells,
      shadePaths(local, cells, "var(--local)"),
      shadePaths(global, cells, "var(--global)"),
    ),
    `<rect width="${SIDE}" height="${SIDE}" fill="none" stroke="var(--line)"/>`,
    svgText(0, SIDE + 17, "start", "1"),
    svgText(SIDE / 2, SIDE + 17, "middle", "is looked at"),
    svgText(SIDE, SIDE + 17, "end", exact(pattern.length)),
    svgText(-6, 10, "end", "1"),
    `<g transform="translate(-9 ${SIDE / 2}) rotate(-90)">${svgText(0, 0, "middle", "looks")}</g></g>`,
  );
}

/** The pattern as one standalone <svg> element: a square for each group of heads, three in a row, each under its name. */
export function attentionPicture(pattern: AttentionPattern): string {
  const columns = Math.min(3, pattern.groups.length);
  const [cellWidth, cellHeight] = [SIDE + 50, SIDE + 96];
  const width = columns * cellWidth;
  const height = Math.ceil(pattern.groups.length / columns) * cellHeight;
  const squares = pattern.groups.map((heads, i) => {
    const [x, y] = [(i % columns) * cellWidth + 12, Math.floor(i / columns) * cellHeight];
    return [
      `<g transform="translate(${x} ${y})"><g font-size="13" font-weight="600" fill="var(--ink)">`,
      svgText(25, 18, "start", heads.label),
      "</g>",
      svgText(25, 36, "start", patternWords(heads, pattern)),
      svgText(25, 52, "start", shareWords(heads, pattern)),
      `<g transform="translate(0 62)">${attentionSvg(heads, pattern)}</g></g>`,
    ].join("");
  });
  return svgElement({ width, height, description: "Attention pattern" }, ...squares);
}
