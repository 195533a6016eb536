/** @file A grid of shares as a few SVG paths: one for each of four strengths of a colour, rows merged into runs. */

const STRENGTHS = 4;
/** The square root, so that thin patterns stay visible. */
const OPACITY = [0, 0.5, 0.7, 0.87, 1];

/**
 * @param shares 0 to 1, [rows, columns] row-major; a cell is one unit wide and high. 0 is not drawn, the least share is.
 * @returns <path> elements.
 */
export function shadePaths(shares: ArrayLike<number>, columns: number, color: string): string {
  const strengthAt = (cell: number) => Math.min(STRENGTHS, Math.ceil(shares[cell] * STRENGTHS - 1e-9));
  const paths = new Array<string>(STRENGTHS + 1).fill("");
  for (let start = 0; start < shares.length; start += columns) {
    for (let from = 0; from < columns; ) {
      const strength = strengthAt(start + from);
      let to = from + 1;
      while (to < columns && strengthAt(start + to) === strength) to++;
      paths[strength] += `M${from} ${start / columns}h${to - from}v1h${from - to}z`;
      from = to;
    }
  }
  return paths
    .map((path, strength) =>
      strength > 0 && path !== ""
        ? `<path d="${path}" fill="${color}" fill-opacity="${OPACITY[strength]}"/>`
        : "",
    )
    .join("");
}
