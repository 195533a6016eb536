/** @file Some of many, from all over them: those that stand together in a file may be alike (questions about one article, an alphabet). */

/** All of a list, the middle first, so that the first few are from all over it (van der Corput's sequence). */
export function inSpreadOrder<T>(list: readonly T[]): T[] {
  const found = new Set<number>();
  for (let k = 1; found.size < list.length; k++) {
    let [place, step] = [0, 0.5];
    for (let rest = k; rest > 0; rest >>= 1, step /= 2) if (rest & 1) place += step;
    found.add(Math.floor(place * list.length));
  }
  return Array.from(found, (place) => list[place]);
}

/** The first of each list, then the second of each, and so on, up to `limit`. */
export function takeInTurns<T>(lists: readonly (readonly T[])[], limit: number): T[] {
  const taken: T[] = [];
  for (let turn = 0; lists.some((list) => list.length > turn); turn++)
    for (const list of lists) {
      if (taken.length === limit) return taken;
      if (list.length > turn) taken.push(list[turn]);
    }
  return taken;
}

/** At most `count` of a stream, at nearly even distances and in its order; never holds more than twice as many. */
export async function takeEvenly<T>(stream: AsyncIterable<T>, count: number): Promise<T[]> {
  let kept: T[] = [];
  let [every, seen] = [1, 0];
  for await (const item of stream) {
    if (seen++ % every !== 0) continue;
    kept.push(item);
    if (kept.length <= 2 * count) continue;
    kept = kept.filter((_, i) => i % 2 === 0);
    every *= 2;
  }
  if (kept.length <= count) return kept;
  return Array.from({ length: count }, (_, i) => kept[Math.floor((i * kept.length) / count)]);
}
