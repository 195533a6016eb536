/** @file What is done to numbers before they are drawn: running means, fewer points, the range of an axis. */
import type { Point } from "../data.js";

/** Points that a running mean takes in on each side: a share of the series, in short ones a larger share. */
const SMOOTHING = 0.02;
const SHORT_SMOOTHING = 0.05;
const SHORT_REACH = 10;
const MAX_REACH = 50;

/**
 * Running mean of running means, so that near points count more than far ones. A loss depends on the noise levels of its step, which are
 * drawn evenly: the plain mean of so many steps jumps where a high level enters as another leaves, this one does not.
 */
export function smooth(points: readonly Point[]): Point[] {
  const { length } = points;
  const reach = Math.round(Math.max(SMOOTHING * length, Math.min(SHORT_REACH, SHORT_SMOOTHING * length)));
  return runningMean(runningMean(points, Math.min(MAX_REACH, reach)), Math.min(MAX_REACH, reach));
}

/** Its reach shrinks towards the start, where curves are steep, and is cut off at the end. */
function runningMean(points: readonly Point[], reach: number): Point[] {
  const sums = [0];
  for (const { y } of points) sums.push(sums[sums.length - 1] + y);
  return points.map(({ x }, i) => {
    const from = i - Math.min(reach, i);
    const to = Math.min(i + Math.min(reach, i), points.length - 1);
    return { x, y: (sums[to + 1] - sums[from]) / (to + 1 - from) };
  });
}

/** At most about `limit` points: the lowest and the highest of each of limit / 2 stretches, so that no spike is lost. */
export function thin(points: readonly Point[], limit = 800): Point[] {
  if (points.length <= limit) return [...points];
  const stretches = Math.floor(limit / 2);
  return Array.from({ length: stretches }, (_, s) => {
    const from = Math.floor((s * points.length) / stretches);
    const to = Math.floor(((s + 1) * points.length) / stretches);
    let low = from;
    let high = from;
    for (let i = from; i < to; i++) {
      if (points[i].y < points[low].y) low = i;
      if (points[i].y > points[high].y) high = i;
    }
    const both = low < high ? [low, high] : [high, low];
    return low === high ? [points[low]] : both.map((i) => points[i]);
  }).flat();
}

/** The values below and above which `share` of them lie. */
export function quantiles(values: readonly number[], share: number): number[] {
  if (values.length === 0) return [];
  const sorted = [...values].sort((a, b) => a - b);
  const outside = Math.floor(share * (sorted.length - 1));
  return [sorted[outside], sorted[sorted.length - 1 - outside]];
}

/** At most `limit` of the items, evenly, the first and the last among them. */
export function pick<T>(items: readonly T[], limit: number): T[] {
  if (items.length <= limit) return [...items];
  return Array.from(
    { length: limit },
    (_, i) => items[Math.round((i * (items.length - 1)) / Math.max(1, limit - 1))],
  );
}

/** Lowest and highest value with a margin (a share of the range) around them; never empty. */
export function rangeOf(values: readonly number[], margin: number, logarithmic: boolean): [number, number] {
  const scale = logarithmic ? Math.log10 : (value: number) => value;
  const unscale = logarithmic ? (value: number) => 10 ** value : (value: number) => value;
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    low = Math.min(low, scale(value));
    high = Math.max(high, scale(value));
  }
  if (low === high) {
    const room = logarithmic ? 0.5 : Math.abs(low) * 0.1 || 1;
    return [unscale(low - room), unscale(high + room)];
  }
  return [unscale(low - margin * (high - low)), unscale(high + margin * (high - low))];
}

/**
 * Moves labels apart: each place as near to its own as a gap between neighbours allows, in the same order, inside [from, to]
 * where there is room for all.
 */
export function spread(
  places: readonly number[],
  gap: number,
  [from, to]: readonly [number, number],
): number[] {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b] || a - b);
  // Groups of labels that touch move as one: [members, centre].
  const groups: { members: number[]; centre: number }[] = [];
  const top = ({ members, centre }: (typeof groups)[number]) => centre - ((members.length - 1) * gap) / 2;
  const within = (group: (typeof groups)[number]) => {
    const half = ((group.members.length - 1) * gap) / 2;
    group.centre = Math.max(from + half, Math.min(to - half, group.centre));
    return group;
  };
  for (const i of order) {
    groups.push(within({ members: [i], centre: places[i] }));
    while (groups.length > 1) {
      const below = groups[groups.length - 1];
      const above = groups[groups.length - 2];
      if (top(below) - (top(above) + (above.members.length - 1) * gap) >= gap) break;
      groups.splice(-2);
      const members = [...above.members, ...below.members];
      // The mean of where the members want to be, were they in line.
      const wanted = members.map((m, k) => places[m] - (k - (members.length - 1) / 2) * gap);
      groups.push(within({ members, centre: wanted.reduce((a, b) => a + b) / wanted.length }));
    }
  }
  const result = new Array<number>(places.length);
  for (const group of groups)
    for (const [k, member] of group.members.entries()) result[member] = top(group) + k * gap;
  return result;
}
