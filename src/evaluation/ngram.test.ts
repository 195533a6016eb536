import { describe, expect, it } from "vitest";
import { CounterRandom, Stream } from "../random/index.js";
import { NgramModel, type TokenSequences } from "./ngram.js";
import { CountTable } from "./ngram-counts.js";

const sequences = (documents: readonly (readonly number[])[], given: number[][] = []): TokenSequences => ({
  size: documents.length,
  ids: (document) => documents[document],
  given: (document) => given[document] ?? documents[document].map(() => 0),
});

const V = 6;
const START = 2;
const random = new CounterRandom(3);
/** Documents of a skewed random language; token 5 never occurs. */
const documents = Array.from({ length: 12 }, (_, d) => {
  const body = Array.from({ length: 3 + ((d * 5) % 11) }, (_, i) =>
    Math.floor(5 * random.uniform(Stream.Synthetic, d, 0, i) ** 2),
  );
  return [...body, START];
});
const model = NgramModel.train(sequences(documents), { vocabSize: V, start: START });

/** The same model from the definition, with counts in maps and nothing shared. */
function byDefinition(texts: readonly (readonly number[])[]) {
  const grams: number[][] = texts.flatMap((text) =>
    text.map((c, i) => [text[i - 2] ?? START, text[i - 1] ?? START, c]),
  );
  const tally = (keys: readonly string[]) => {
    const counts = new Map<string, number>();
    for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
    return counts;
  };
  const distinct = (keys: readonly string[]) => [...new Set(keys)];
  const n3 = tally(grams.map(([a, b, c]) => `${a} ${b} ${c}`));
  const n2 = tally(grams.map(([, b, c]) => `${b} ${c}`));
  const t2 = tally(distinct(grams.map((gram) => gram.join(" "))).map((key) => key.slice(2)));
  const t1 = tally([...n2.keys()].map((key) => key.slice(2)));
  const discount = (counts: Map<string, number>) => {
    const having = (n: number) => [...counts.values()].filter((count) => count === n).length;
    return having(1) > 0 && having(2) > 0 ? having(1) / (having(1) + 2 * having(2)) : 0.5;
  };
  const smooth = (counts: Map<string, number>, context: string, c: number, lower: number) => {
    const D = discount(counts);
    const inContext = [...counts].filter(([key]) => key.startsWith(context));
    const total = inContext.reduce((sum, [, count]) => sum + count, 0);
    if (total === 0) return lower;
    const count = counts.get(`${context}${c}`) ?? 0;
    return Math.max(count - D, 0) / total + ((D * inContext.length) / total) * lower;
  };
  const p1 = (c: number) => smooth(t1, "", c, 1 / V);
  return {
    bigram: (b: number, c: number) => smooth(n2, `${b} `, c, p1(c)),
    trigram: (a: number, b: number, c: number) => smooth(n3, `${a} ${b} `, c, smooth(t2, `${b} `, c, p1(c))),
  };
}

describe("NgramModel", () => {
  const all = Array.from({ length: V }, (_, i) => i);
  const sum = (p: (c: number) => number) => all.reduce((total, c) => total + p(c), 0);

  it("gives probabilities that sum to one in every context, seen or not", () => {
    expect(sum((c) => model.unigram(c))).toBeCloseTo(1, 12);
    for (const b of all) {
      expect(sum((c) => model.bigram(b, c))).toBeCloseTo(1, 12);
      for (const a of all) expect(sum((c) => model.trigram(a, b, c))).toBeCloseTo(1, 12);
    }
    for (const a of all)
      for (const b of all) for (const c of all) expect(model.trigram(a, b, c)).toBeGreaterThan(0);
  });

  it("is the definition", () => {
    const reference = byDefinition(documents);
    for (const b of all)
      for (const c of all) {
        expect(model.bigram(b, c)).toBeCloseTo(reference.bigram(b, c), 12);
        for (const a of all) expect(model.trigram(a, b, c)).toBeCloseTo(reference.trigram(a, b, c), 12);
      }
  });

  it("scores targets only, in nats per token and bits per byte of text", () => {
    const held = [
      [3, 1, START],
      [0, START],
    ];
    const scores = model.evaluate(sequences(held), [0, 1, 0, 2, 1, 1]);
    const nats = -[
      [START, START, 3],
      [START, 3, 1],
      [3, 1, START],
      [START, START, 0],
      [START, 0, START],
    ].reduce((total, [a, b, c]) => total + Math.log(model.trigram(a, b, c)), 0);
    expect(scores.tokens).toBe(5);
    expect(scores.trigram.natsPerToken).toBeCloseTo(nats / 5, 12);
    expect(scores.trigram.bitsPerByte).toBeCloseTo(nats / Math.LN2 / 3, 12);
    expect(model.evaluate(sequences(held)).unigram.bitsPerByte).toBeNull();
    const given = model.evaluate(sequences([held[0]], [[1, 1, 0]]));
    expect(given.tokens).toBe(1);
    expect(given.trigram.natsPerToken).toBeCloseTo(-Math.log(model.trigram(3, 1, START)), 12);
  });

  it("does not look across documents", () => {
    const apart = NgramModel.train(
      sequences([
        [3, START],
        [4, START],
      ]),
      { vocabSize: V, start: START },
    );
    expect(apart.trigram(3, START, 4)).toBeLessThan(apart.trigram(START, START, 4));
  });

  it("orders the models on text of the same kind, and works without any", () => {
    const periodic = Array.from({ length: 40 }, () => [0, 1, 0, 3, 0, 1, 0, 4, START]);
    const learned = NgramModel.train(sequences(periodic), { vocabSize: V, start: START });
    const { unigram, bigram, trigram } = learned.evaluate(sequences(periodic));
    expect(bigram.natsPerToken).toBeLessThan(unigram.natsPerToken);
    expect(trigram.natsPerToken).toBeLessThan(bigram.natsPerToken);
    const none = NgramModel.train(sequences([]), { vocabSize: V, start: START });
    for (const p of [none.unigram(1), none.bigram(0, 1), none.trigram(0, 0, 1)])
      expect(p).toBeCloseTo(1 / V, 12);
  });

  it("refuses ids beyond the vocabulary", () => {
    expect(() => NgramModel.train(sequences([[9]]), { vocabSize: V, start: START })).toThrow(
      /ids below 6, got 9/,
    );
  });
});

it("CountTable counts equal keys and sums contexts", () => {
  const table = CountTable.of(Float64Array.from([7, 3, 7, 12, 7, 3, 2 ** 50]));
  expect(table.size).toBe(4);
  expect(table.look(0, 10, 7)).toEqual({ total: 5, distinct: 2, count: 3 });
  expect(table.look(0, 10, 8)).toEqual({ total: 5, distinct: 2, count: 0 });
  expect(table.look(20, 30, 21)).toEqual({ total: 0, distinct: 0, count: 0 });
  expect(table.look(2 ** 50, 2 ** 51, 2 ** 50).count).toBe(1);
});
