import { expect, it } from "vitest";
import { CounterRandom, Stream } from "../random/index.js";
import { TokenCorpus } from "./corpus.js";
import { CorpusPart, heldOutDocuments, isAmong } from "./split.js";

const random = new CounterRandom(7);

it("holds out the first documents of a permutation, at least one, never all", () => {
  for (const [size, fraction] of [
    [2, 0.05],
    [5, 0.99],
    [300, 0.05],
  ]) {
    const count = Math.min(size - 1, Math.max(1, Math.round(size * fraction)));
    const expected = [...random.permutation(size, Stream.Split, 0).subarray(0, count)].sort((a, b) => a - b);
    expect([...heldOutDocuments(size, fraction, random)]).toEqual(expected);
  }
  expect(() => heldOutDocuments(1, 0.5, random)).toThrow(/only one document/);
});

it("holds out a share of every part of a large corpus", () => {
  const size = 300_000;
  const held = heldOutDocuments(size, 0.01, random);
  expect(held.length).toBe(3000);
  expect(new Set(held).size).toBe(3000);
  expect(held.every((value, i) => i === 0 || held[i - 1] < value)).toBe(true);
  expect(held.filter((document) => document < 131_072).length).toBe(Math.round(131_072 * 0.01));
});

it("both parts together are the whole, in its order", () => {
  const documents = Array.from({ length: 40 }, (_, i) => ({
    ids: Int32Array.from({ length: 1 + (i % 7) }, () => i),
    given: Uint8Array.from({ length: 1 + (i % 7) }, (__, k) => Number(i % 2 === 0 && k === 0)),
  }));
  const whole = TokenCorpus.from(documents, 100);
  const held = heldOutDocuments(40, 0.3, random);
  const parts = { held: new CorpusPart(whole, held, "held"), kept: new CorpusPart(whole, held, "kept") };
  const numbers = (part: CorpusPart) => Array.from({ length: part.size }, (_, d) => part.ids(d)[0]);
  expect(numbers(parts.held)).toEqual([...held]);
  expect(numbers(parts.kept)).toEqual(
    whole.size ? [...Array(40).keys()].filter((d) => !isAmong(held, d)) : [],
  );
  expect(parts.held.tokens + parts.kept.tokens).toBe(whole.tokens);
  for (const part of Object.values(parts))
    for (let d = 0; d < part.size; d++) {
      const number = part.ids(d)[0];
      expect(part.length(d)).toBe(1 + (number % 7));
      expect(part.conditional(d)).toBe(number % 2 === 0);
      expect([...part.given(d)]).toEqual([...whole.given(number)]);
    }
});
