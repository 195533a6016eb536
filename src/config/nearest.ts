/** @file The name a user probably meant: the candidate at the smallest edit distance, letter case aside. */
import { distance } from "fastest-levenshtein";

function lowest<T>(items: readonly T[], cost: (item: T) => number): T {
  let best = items[0];
  for (const item of items) if (cost(item) < cost(best)) best = item;
  return best;
}

/** The candidate nearest to `name`; null: none is like it. `candidates` must not be empty. */
export function nearest(name: string, candidates: readonly string[]): string | null {
  const asked = name.toLowerCase();
  const best = lowest(candidates, (candidate) => distance(asked, candidate.toLowerCase()));
  return isLike(asked, best.toLowerCase()) ? best : null;
}

/** `; did you mean "..."?` where a candidate is like the name, else `otherwise`. */
export function didYouMean(name: string, candidates: readonly string[], otherwise = "."): string {
  const best = nearest(name, candidates);
  return best === null ? otherwise : `; did you mean "${best}"?`;
}

const lastPart = (dotted: string): string => dotted.slice(dotted.lastIndexOf(".") + 1).toLowerCase();

/** Of two names that share less than half their letters, neither is meant by the other. */
const isLike = (a: string, b: string): boolean => 2 * distance(a, b) <= Math.max(a.length, b.length);

/**
 * The known dotted path nearest to `path`; null: none is like it. A path whose last part is right and whose place is wrong
 * (`model.window`, meant `model.attention.window`) wins over one that is only spelled alike.
 */
export function nearestPath(path: string, known: readonly string[]): string | null {
  const best = lowest(
    known,
    (candidate) =>
      2 * distance(lastPart(path), lastPart(candidate)) +
      0.5 * distance(path.toLowerCase(), candidate.toLowerCase()),
  );
  return isLike(lastPart(path), lastPart(best)) ? best : null;
}
