/**
 * @file SVG written by hand: grids of coloured cells, which a plotting library would draw as thousands of elements, as one path
 * for each colour, and the words around them.
 */
import { escapeHtml } from "../html.js";

export const FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif";

/** Attributes that every picture of ours has. */
export function svgAttributes(description: string): string {
  return `xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${escapeHtml(description)}"`;
}

/** A picture of so many pixels; its words are small and quiet unless they say otherwise. */
export function svgElement(
  { width, height, description }: { width: number; height: number; description: string },
  ...content: readonly string[]
): string {
  return `<svg ${svgAttributes(description)} viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="${FONT}" font-size="11" fill="var(--muted)">${content.join("")}</svg>`;
}

/** Words at (x, y), the baseline of their start, middle or end. */
export function svgText(x: number, y: number, anchor: "start" | "middle" | "end", words: string): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}">${escapeHtml(words)}</text>`;
}

/** Content in units of cells, each `cellWidth` by `cellHeight` pixels, with sharp edges. */
export function svgCells(cellWidth: number, cellHeight: number, ...content: readonly string[]): string {
  const [x, y] = [cellWidth, cellHeight].map((size) => Number(size.toFixed(4)));
  return `<g transform="scale(${x} ${y})" shape-rendering="crispEdges">${content.join("")}</g>`;
}

/**
 * For each class of cell the path that covers its cells: runs along a row are one rectangle.
 *
 * @param classes small whole numbers, [rows, columns] row-major; a cell is one unit wide and high.
 */
function classPaths(classes: ArrayLike<number>, columns: number): Map<number, string> {
  const paths = new Map<number, string>();
  for (let start = 0; start < classes.length; start += columns) {
    for (let from = 0; from < columns; ) {
      const kind = classes[start + from];
      let to = from + 1;
      while (to < columns && classes[start + to] === kind) to++;
      const run = `M${from} ${start / columns}h${to - from}v1h${from - to}z`;
      paths.set(kind, (paths.get(kind) ?? "") + run);
      from = to;
    }
  }
  return new Map([...paths].sort(([a], [b]) => a - b));
}

/** A grid of colours: cell i has the colour number classes[i]. */
export function colorPaths(
  classes: ArrayLike<number>,
  columns: number,
  colorOf: (kind: number) => string,
): string {
  return [...classPaths(classes, columns)]
    .map(([kind, path]) => `<path d="${path}" fill="${colorOf(kind)}"/>`)
    .join("");
}

/** Strengths of one colour; the square root, so that thin patterns stay visible. */
const OPACITY = [0, 0.5, 0.7, 0.87, 1];
const STRENGTHS = OPACITY.length - 1;

/** A grid of shares (0 to 1) as strengths of one colour: 0 is not drawn, the least share is. */
export function shadePaths(shares: ArrayLike<number>, columns: number, color: string): string {
  const strengths = Array.from(shares, (share) => Math.min(STRENGTHS, Math.ceil(share * STRENGTHS - 1e-9)));
  return [...classPaths(strengths, columns)]
    .filter(([strength]) => strength > 0)
    .map(([strength, path]) => `<path d="${path}" fill="${color}" fill-opacity="${OPACITY[strength]}"/>`)
    .join("");
}
