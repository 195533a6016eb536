import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CounterRandom, Stream } from "../random/index.js";
import { type RoundingOptions, roundLogits } from "./rounding.js";

const random = new CounterRandom(77);
const normals = (n: number, scale: number, sequence = 0) => {
  const out = new Float32Array(n);
  random.fillNormal(out, Stream.Synthetic, sequence, 0);
  return out.map((x) => Math.fround(x * scale));
};
const uniformsOf = (n: number, sequence = 0) => {
  const out = new Float32Array(n);
  random.fillUniform(out, Stream.Draw, sequence, 0);
  return out;
};

/** The definition, by a full sort: [V] -> probabilities of the draw, plain softmax, entropy. */
function naive(logits: Float32Array, { temperature = 1, topK = 0, topP = 1 }: RoundingOptions) {
  const allowed = Array.from(logits, (x, v) => ({ x, v }));
  const top = Math.max(...allowed.map(({ x }) => x));
  const plainWeights = allowed.map(({ x }) => Math.exp(x - top));
  const plainTotal = plainWeights.reduce((a, b) => a + b);
  const plain = plainWeights.map((w) => w / plainTotal);
  const entropy = -plain.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
  let ranked = allowed
    .filter(({ x }) => x > -Infinity)
    .sort((a, b) => b.x - a.x || a.v - b.v)
    .map(({ x, v }) => ({ v, w: temperature === 0 ? 0 : Math.exp((x - top) / temperature) }));
  if (temperature === 0) ranked = [{ ...ranked[0], w: 1 }];
  if (topK > 0) ranked = ranked.slice(0, topK);
  const total = ranked.reduce((sum, { w }) => sum + w, 0);
  let mass = 0;
  if (topP < 1) {
    const end = ranked.findIndex(({ w }) => {
      mass += w;
      return mass >= topP * total;
    });
    ranked = ranked.slice(0, end + 1);
  }
  const keptMass = ranked.reduce((sum, { w }) => sum + w, 0);
  const kept = ranked.sort((a, b) => a.v - b.v).map(({ v, w }) => ({ v, p: w / keptMass }));
  return { kept, plain, entropy };
}

function naiveDraw(kept: { v: number; p: number }[], uniform: number): number {
  let sum = 0;
  for (const { v, p } of kept) {
    sum += p;
    if (sum > uniform) return v;
  }
  return kept[kept.length - 1].v;
}

const settings: RoundingOptions[] = [
  {},
  { temperature: 0 },
  { temperature: 0.8, topP: 0.95 },
  { temperature: 1.7, topK: 5 },
  { topK: 1 },
  { temperature: 0.5, topK: 20, topP: 0.6 },
  { topP: 0.01 },
  { topK: 1000, topP: 0.999 },
];

describe.each(settings)("agrees with the full sort: %j", (options) => {
  it.each([0.3, 2, 12])("logits of deviation %d", (scale) => {
    const [rows, vocabSize] = [60, 211];
    const logits = normals(rows * vocabSize, scale);
    for (let v = 0; v < vocabSize; v += 7) logits[3 * vocabSize + v] = 1; // ties
    for (const v of [0, 3, 4]) logits[4 * vocabSize + v] = -Infinity;
    logits.fill(-Infinity, 5 * vocabSize + 5, 6 * vocabSize - 5);
    const uniforms = uniformsOf(rows);
    const got = roundLogits(logits, vocabSize, uniforms, options);
    for (let r = 0; r < rows; r++) {
      const { kept, plain, entropy } = naive(logits.subarray(r * vocabSize, (r + 1) * vocabSize), options);
      expect(got.ids[r]).toBe(naiveDraw(kept, uniforms[r]));
      expect(got.confidence[r]).toBeCloseTo(plain[got.ids[r]], 6);
      expect(got.entropy[r]).toBeCloseTo(entropy, 5);
      const [first, second] = plain.toSorted((a, b) => b - a);
      expect(got.margin[r]).toBeCloseTo(first - second, 6);
    }
  });
});

it("draws kept tokens only, whatever the options", () => {
  const options = fc.record({
    temperature: fc.double({ min: 0.05, max: 3, noNaN: true }),
    topK: fc.integer({ min: 0, max: 12 }),
    topP: fc.integer({ min: 1, max: 97 }).map((k) => k / 97),
  });
  const forbidden = fc.array(fc.integer({ min: 0, max: 8 }), { maxLength: 5 });
  const logits = fc.array(fc.double({ min: -60, max: 60, noNaN: true }), { minLength: 9, maxLength: 9 });
  const uniform = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(logits, forbidden, options, uniform, (values, never, chosen, u) => {
      const row = Float32Array.from(values, (x, v) => (never.includes(v) ? -Infinity : x));
      const { ids } = roundLogits(row, 9, Float32Array.of(u), chosen);
      expect(naive(row, chosen).kept.map(({ v }) => v)).toContain(ids[0]);
    }),
    { numRuns: 300 },
  );
});

it("draws in proportion to the probabilities", () => {
  const n = 1000;
  const row = [0, -Infinity, 2, -1, 0.5];
  const logits = Float32Array.from({ length: 5 * n }, (_, i) => row[i % 5]);
  const even = Float32Array.from({ length: n }, (_, i) => (i + 0.5) / n);
  const { ids } = roundLogits(logits, 5, even, { temperature: 0.7, topK: 3 });
  const weights = row.map((x, v) => (v === 3 ? 0 : Math.exp(x / 0.7)));
  const total = weights.reduce((a, b) => a + b);
  const counts = row.map((_, v) => ids.filter((id) => id === v).length);
  for (const [v, w] of weights.entries()) expect(Math.abs(counts[v] - (n * w) / total)).toBeLessThan(1);
});

it("the margin of a token that is alone is its probability, that of equals 0", () => {
  const logits = Float32Array.of(3, -Infinity, -Infinity, 2, 2, 1, 0, 0, 0);
  const { margin } = roundLogits(logits, 3, uniformsOf(3), { temperature: 0 });
  expect(Array.from(margin)).toEqual([1, 0, 0]);
});

it("a uniform number just below 1 still draws a kept token", () => {
  const got = roundLogits(normals(50, 3), 50, Float32Array.of(1), { topP: 0.5 });
  expect(naive(normals(50, 3), { topP: 0.5 }).kept.at(-1)?.v).toBe(got.ids[0]);
});

it("says what is wrong", () => {
  const one = Float32Array.of(0.5);
  expect(() => roundLogits(Float32Array.of(1, Number.NaN), 2, one)).toThrow("NaN or +Infinity");
  expect(() => roundLogits(Float32Array.of(1, Infinity), 2, one)).toThrow("NaN or +Infinity");
  const broken = new Float32Array(2).fill(Number.NaN);
  expect(() => roundLogits(broken, 2, one)).toThrow("NaN or +Infinity; the weights of the model are broken");
  expect(() => roundLogits(Float32Array.of(-Infinity, -Infinity), 2, one)).toThrow("none above -Infinity");
  expect(() => roundLogits(Float32Array.of(1, 2), 1, one)).toThrow("got 1 for 2 rows");
});
