/** @file Counts of n-grams as sorted keys with running sums: one number a key, so that 20 million n-grams fit beside a model. */

/** D = n1 / (n1 + 2 n2); one half where a table is too small to tell. */
export const discountOf = (ones: number, twos: number): number =>
  ones > 0 && twos > 0 ? ones / (ones + 2 * twos) : 0.5;

/** What a table knows of one context and one n-gram in it. */
export interface Look {
  /** Sum of the counts of all keys of the context. */
  readonly total: number;
  /** Number of distinct keys of the context. */
  readonly distinct: number;
  /** Count of the n-gram itself. */
  readonly count: number;
}

export class CountTable {
  private constructor(
    private readonly keys: Float64Array,
    /** sums[i]: occurrences of all keys before key i. [size + 1] */
    private readonly sums: Uint32Array,
    /** Kneser-Ney discount, from the numbers of keys seen once and twice. */
    readonly discount: number,
  ) {}

  /** Counts equal keys. @param keys integers below 2^53; sorted in place and kept as storage. */
  static of(keys: Float64Array): CountTable {
    keys.sort();
    let size = 0;
    for (let i = 0; i < keys.length; i++) if (i === 0 || keys[i] !== keys[i - 1]) size++;
    const sums = new Uint32Array(size + 1);
    let at = 0;
    let ones = 0;
    let twos = 0;
    for (let i = 0; i < keys.length; ) {
      const key = keys[i];
      let end = i + 1;
      while (end < keys.length && keys[end] === key) end++;
      if (end - i === 1) ones++;
      if (end - i === 2) twos++;
      keys[at++] = key;
      sums[at] = end;
      i = end;
    }
    return new CountTable(keys.subarray(0, size), sums, discountOf(ones, twos));
  }

  /** Number of distinct keys. */
  get size(): number {
    return this.keys.length;
  }

  forEachKey(visit: (key: number, index: number) => void): void {
    this.keys.forEach(visit);
  }

  /** @param first first key of the context. @param end first key after it. @param key the n-gram. */
  look(first: number, end: number, key: number): Look {
    const low = this.lowerBound(first, 0, this.keys.length);
    const high = this.lowerBound(end, low, this.keys.length);
    const at = this.lowerBound(key, low, high);
    const count = at < high && this.keys[at] === key ? this.sums[at + 1] - this.sums[at] : 0;
    return { total: this.sums[high] - this.sums[low], distinct: high - low, count };
  }

  private lowerBound(key: number, from: number, to: number): number {
    let low = from;
    let high = to;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.keys[middle] < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
