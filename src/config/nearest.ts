/** @file The name a user probably meant: the candidate at the smallest edit distance, letter case aside. */
import { distance } from "fastest-levenshtein";

function lowest<T>(items: readonly T[], cost: (item: T) => number): T {
  let best = items[0];
  for (const item of items) if (cost(item) < cost(best)) best = item;
  return best;
}

/** The candidate nearest to `name`; `candidates` must not be empty. */
export function nearest(name: string, candidates: readonly string[]): string {
  return lowest(candidates, (candidate) => distance(name.toLowerCase(), candidate.toLowerCase()));
}

/**
 * The known dotted path nearest to `path`. A path whose last part is right and whose place is wrong
 * (`model.window`, meant `model.attention.window`) wins over one that is only spelled alike.
 */
export function nearestPath(path: string, known: readonly string[]): string {
  const last = (dotted: string) => dotted.slice(dotted.lastIndexOf(".") + 1).toLowerCase();
  return lowest(
    known,
    (candidate) =>
      2 * distance(last(path), last(candidate)) + 0.5 * distance(path.toLowerCase(), candidate.toLowerCase()),
  );
}
