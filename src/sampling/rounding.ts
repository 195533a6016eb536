/**
 * @file Rounding: from logits to tokens, by temperature, top-k and top-p.
 *
 *     p ~ softmax(logits / temperature)
 *     kept = the topK likeliest, then the fewest likeliest of those that reach the share topP of their mass
 *     id = the first kept token, in order of id, at which the cumulative mass exceeds uniform * kept mass
 *
 * One uniform number per position draws it (inverse distribution function in order of id: no sort, and stable when two
 * tokens of about equal probability change places). Equal logits rank by id. Confidence, margin and entropy are of the plain
 * softmax (temperature 1, nothing cut), so that they mean the same under every setting.
 *
 * Fast form: tokens fall into bins by their distance from the largest logit, which give mass and count of everything
 * above a distance; only in the one bin in which the cut lies is it looked for, by halving what is left of it (quickselect).
 * The naive form is in rounding.test.ts.
 */
import { UserError } from "../errors.js";

export interface RoundingOptions {
  /** >= 0; 0: the likeliest token, no draw. Default 1. */
  readonly temperature?: number;
  /** Draw among this many; 0: all. Default 0. */
  readonly topK?: number;
  /** In (0, 1]. Default 1. */
  readonly topP?: number;
}

export interface RoundedTokens {
  /** [rows] */
  readonly ids: Int32Array;
  /** [rows] probability of the token, as the model gives it. */
  readonly confidence: Float32Array;
  /** [rows] probability of the likeliest token less that of the second. */
  readonly margin: Float32Array;
  /** [rows] in nats. */
  readonly entropy: Float32Array;
}

/** Distances from the largest logit, in units of the temperature, up to which tokens have any mass: exp(-32) = 1e-14. */
const RANGE = 32;
const BINS_PER_UNIT = 16;
const BINS = RANGE * BINS_PER_UNIT;

/**
 * Draws a token for every row of logits.
 * @param logits float32 [rows, V]; -Infinity forbids a token
 * @param vocabSize V
 * @param uniforms [rows] numbers in [0, 1)
 * @param row holds what the work needs, for whoever calls this often; of V tokens
 * @throws UserError when there is not one number a row, and for rows in which no token is left or a logit is NaN or +Infinity
 */
export function roundLogits(
  logits: Float32Array,
  vocabSize: number,
  uniforms: Float32Array,
  { temperature = 1, topK = 0, topP = 1 }: RoundingOptions = {},
  row = new RowSampler(vocabSize),
): RoundedTokens {
  const rows = logits.length / vocabSize;
  if (!Number.isInteger(rows) || uniforms.length !== rows) {
    throw new UserError(
      `Expected one uniform number for each row of logits, got ${uniforms.length} for ${rows} rows.`,
    );
  }
  const ids = new Int32Array(rows);
  const confidence = new Float32Array(rows);
  const margin = new Float32Array(rows);
  const entropy = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    row.load(logits, r);
    ids[r] = temperature === 0 ? row.likeliest : row.draw(temperature, topK, topP, uniforms[r]);
    confidence[r] = row.probabilityOf(ids[r]);
    margin[r] = row.margin;
    entropy[r] = row.entropy;
  }
  return { ids, confidence, margin, entropy };
}

/** Works on one row of logits at a time; its arrays are used again for every row. */
export class RowSampler {
  /** Id with the largest logit. */
  likeliest = 0;
  /** Entropy of the plain softmax, nats. */
  entropy = 0;
  /** Distance of the two largest probabilities of the plain softmax. */
  margin = 0;
  private total = 0;
  private top = 0;
  /** -Infinity when forbidden. Tokens rank by it: a distance from the largest logit would round small differences away. */
  private readonly logit: Float32Array;
  /** exp(-distance / temperature). */
  private readonly weight: Float64Array;
  private readonly bin: Uint16Array;
  private readonly mass = new Float64Array(BINS + 1);
  private readonly count = new Int32Array(BINS + 1);
  /** Tokens of the bin in which a cut lies, in any order. */
  private readonly members: Int32Array;

  constructor(private readonly size: number) {
    this.logit = new Float32Array(size);
    this.members = new Int32Array(size);
    this.weight = new Float64Array(size);
    this.bin = new Uint16Array(size);
  }

  /** Takes up row r of logits [rows, V]: largest logit and plain softmax. */
  load(logits: Float32Array, r: number): void {
    const { size, logit, weight } = this;
    logit.set(logits.subarray(r * size, (r + 1) * size));
    let top = Number.NEGATIVE_INFINITY;
    let second = Number.NEGATIVE_INFINITY;
    for (let v = 0; v < size; v++) {
      if (logit[v] > top) {
        second = top;
        top = logit[v];
        this.likeliest = v;
      } else if (logit[v] > second) second = logit[v];
    }
    let total = 0;
    let moment = 0;
    for (let v = 0; v < size; v++) {
      const x = top - logit[v];
      const w = expMinus(x);
      weight[v] = w;
      total += w;
      if (w > 0) moment += w * x;
    }
    // A NaN logit makes the total NaN, an infinite largest one its own distance.
    if (!(total >= 1)) {
      const none = logit.every((value) => value === Number.NEGATIVE_INFINITY);
      throw new UserError(
        `Row ${r} of the logits has no token to draw: expected finite logits and at least one allowed token, ` +
          `got ${none ? "none above -Infinity" : "a NaN or +Infinity; the weights of the model are broken, take another checkpoint"}.`,
      );
    }
    this.top = top;
    this.total = total;
    this.entropy = Math.log(total) + moment / total;
    this.margin = (1 - expMinus(top - second)) / total;
  }

  probabilityOf(id: number): number {
    return expMinus(this.top - this.logit[id]) / this.total;
  }

  draw(temperature: number, topK: number, topP: number, uniform: number): number {
    // At temperature 1 the weights stand already, and only a cut wants bins.
    if (temperature === 1 && topK === 0 && topP === 1) return this.pick(null, uniform, this.total);
    const mass = this.reweigh(1 / temperature);
    const last = this.cut(topK, topP, mass);
    return this.pick(last, uniform, mass);
  }

  /** Weights at a temperature, their mass and count by distance (the last bin: too far to have mass); returns their sum. */
  private reweigh(inverse: number): number {
    const { size, logit, top, weight, bin, mass, count } = this;
    mass.fill(0);
    count.fill(0);
    let total = 0;
    for (let v = 0; v < size; v++) {
      const x = (top - logit[v]) * inverse;
      const w = inverse === 1 ? weight[v] : expMinus(x);
      const b = x < RANGE ? (x * BINS_PER_UNIT) | 0 : BINS;
      weight[v] = w;
      bin[v] = b;
      mass[b] += w;
      count[b]++;
      total += w;
    }
    return total;
  }

  /** The kept token that ranks last; null keeps all. */
  private cut(topK: number, topP: number, total: number): Cut | null {
    const byCount = topK > 0 && topK < this.size ? this.cutAt((_, count) => count >= topK) : null;
    if (topP === 1) return byCount;
    const goal = topP * (byCount?.mass ?? total);
    const byMass = this.cutAt((mass) => mass >= goal);
    // The goal is reached at the last token of the first cut at the latest, rounding aside.
    return byCount && (!byMass || ranksBefore(byCount, byMass)) ? byCount : byMass;
  }

  /** The first token, by rank, at which `enough(mass, count)` of what has come so far holds; null when it never does. */
  private cutAt(enough: (mass: number, count: number) => boolean): Cut | null {
    let mass = 0;
    let count = 0;
    let b = 0;
    while (b <= BINS && !enough(mass + this.mass[b], count + this.count[b])) {
      mass += this.mass[b];
      count += this.count[b++];
    }
    if (b > BINS) return null;
    const { bin, logit, weight, members, size } = this;
    let end = 0;
    for (let v = 0; v < size; v++) if (bin[v] === b && logit[v] > -Infinity) members[end++] = v;
    if (end === 0) return null;
    // The cut is among members [start, end); mass and count are of what ranks before them. Where the bin's sum was enough by a rounding
    // error alone, as it was added in another order, the search ends at the last of them: all of the bin is kept.
    let start = 0;
    while (end - start > 1) {
      const middle = this.partition(start, end);
      let own = 0;
      for (let i = start; i < middle; i++) own += weight[members[i]];
      if (enough(mass + own, count + middle - start)) end = middle;
      else {
        mass += own;
        count += middle - start;
        start = middle;
      }
    }
    const id = members[start];
    return { logit: logit[id], id, mass: mass + weight[id] };
  }

  /** Orders members [start, end) so that those before the returned place rank before those from it on; neither part is empty. */
  private partition(start: number, end: number): number {
    const { members, logit } = this;
    const before = (v: number, w: number) => logit[v] > logit[w] || (logit[v] === logit[w] && v < w);
    const pivot = members[(start + end - 1) >> 1];
    // Hoare's scheme.
    let i = start - 1;
    let j = end;
    while (true) {
      do i++;
      while (before(members[i], pivot));
      do j--;
      while (before(pivot, members[j]));
      if (i >= j) return j + 1;
      const swapped = members[i];
      members[i] = members[j];
      members[j] = swapped;
    }
  }

  /** Inverse distribution function over the kept tokens, in order of id. */
  private pick(last: Cut | null, uniform: number, total: number): number {
    const { size, logit, weight } = this;
    const limit = last?.logit ?? Number.NEGATIVE_INFINITY;
    const limitId = last?.id ?? size;
    const goal = uniform * (last?.mass ?? total);
    let sum = 0;
    let chosen = this.likeliest;
    for (let v = 0; v < size; v++) {
      if (logit[v] < limit || (logit[v] === limit && v > limitId) || weight[v] === 0) continue;
      sum += weight[v];
      chosen = v;
      if (sum > goal) break;
    }
    return chosen;
  }
}

/** The last token kept. */
interface Cut {
  readonly logit: number;
  readonly id: number;
  /** Mass of it and all that rank before it. */
  readonly mass: number;
}

const ranksBefore = (a: Cut, b: Cut): boolean => a.logit > b.logit || (a.logit === b.logit && a.id < b.id);

/** exp(-k / 64) for k / 64 below RANGE. */
const STEPS = 64;
const table = Float64Array.from({ length: RANGE * STEPS + 1 }, (_, k) => Math.exp(-k / STEPS));

/** exp(-x) for x >= 0, 0 from RANGE on, NaN for NaN; relative error below 3e-9, several times faster than Math.exp. */
function expMinus(x: number): number {
  if (x >= RANGE) return 0;
  const scaled = x * STEPS;
  const k = scaled | 0;
  const rest = (scaled - k) / STEPS;
  return table[k] * (1 - rest * (1 - rest * (0.5 - rest * (1 / 6))));
}
