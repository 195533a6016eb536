import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CounterRandom } from "./counter-random.js";
import { normalsOf, uniformOf } from "./distributions.js";
import { philox4x32 } from "./philox.js";
import { Stream } from "./stream.js";

const SEED = 0x1234_5678_9abc; // more than 32 bits: both halves of the key take part
const KEY = [0x5678_9abc, 0x1234] as const;
const random = new CounterRandom(SEED);

/** The word that element `element` is made of, by the slow form. */
const wordOf = (element: number, stream: number, sequence: number, step: number) =>
  philox4x32([Math.floor(element / 4), step, sequence, stream], KEY)[element % 4];

describe("fill", () => {
  const filled = (n: number, kind: "fillUniform" | "fillNormal", first = 0) => {
    const out = new Float32Array(n);
    random[kind](out, Stream.Noise, 7, 11, first);
    return out;
  };

  it("gives the words of the slow form, at odd offsets and lengths", () => {
    for (const [first, n] of [
      [0, 1],
      [3, 18],
      [16382, 21],
      [2 ** 34 - 35, 35],
    ]) {
      const words = new Uint32Array(n);
      random.fillWords(words, Stream.Draw, 0xffffffff, 5, first);
      const expected = Array.from(words, (_, i) => wordOf(first + i, Stream.Draw, 0xffffffff, 5));
      expect([...words]).toEqual(expected);
    }
  });

  it("gives the uniform numbers of the slow form", () => {
    const out = filled(1003, "fillUniform");
    expect([...out]).toEqual(Array.from(out, (_, i) => uniformOf(wordOf(i, Stream.Noise, 7, 11))));
    out.forEach((value, i) => {
      const fine = random.uniform(Stream.Noise, 7, 11, i);
      expect(fine - value).toBeGreaterThanOrEqual(0);
      expect(fine - value).toBeLessThan(2 ** -24);
    });
  });

  it("gives the normal numbers of the slow form within 1e-6", () => {
    const out = filled(40_000, "fillNormal");
    let worst = 0;
    for (let i = 0; i < out.length; i += 2) {
      const [a, b] = normalsOf(wordOf(i, Stream.Noise, 7, 11), wordOf(i + 1, Stream.Noise, 7, 11));
      worst = Math.max(worst, Math.abs(out[i] - a), Math.abs(out[i + 1] - b));
    }
    expect(worst).toBeLessThan(1e-6);
  });

  it("gives the same numbers whatever the chunks", () => {
    const whole = { fillUniform: filled(50_000, "fillUniform"), fillNormal: filled(50_000, "fillNormal") };
    fc.assert(
      fc.property(
        fc.constantFrom("fillUniform" as const, "fillNormal" as const),
        fc.nat(30_000),
        fc.nat(20_000),
        (kind, first, n) => {
          const part = Buffer.from(filled(n, kind, first).buffer);
          expect(part.equals(Buffer.from(whole[kind].slice(first, first + n).buffer))).toBe(true);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("has the moments of a normal distribution", () => {
    const out = filled(400_000, "fillNormal");
    const moment = (power: number) => out.reduce((sum, value) => sum + value ** power, 0) / out.length;
    expect(moment(1)).toBeCloseTo(0, 2); // standard errors: 0.0016, 0.0022, 0.006, 0.016
    expect(moment(2)).toBeCloseTo(1, 1.5);
    expect(Math.abs(moment(3))).toBeLessThan(0.03);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.08);
    const within = out.filter((value) => Math.abs(value) < 1).length / out.length;
    expect(within).toBeCloseTo(0.6827, 2);
    let lag = 0;
    for (let i = 1; i < out.length; i++) lag += out[i] * out[i - 1];
    expect(Math.abs(lag / out.length)).toBeLessThan(0.008);
  });

  it("differs by seed, stream, sequence and step", () => {
    const draws = [
      random.uniform(1, 2, 3, 4),
      new CounterRandom(SEED + 1).uniform(1, 2, 3, 4),
      new CounterRandom(SEED + 2 ** 32).uniform(1, 2, 3, 4),
      random.uniform(0, 2, 3, 4),
      random.uniform(1, 0, 3, 4),
      random.uniform(1, 2, 0, 4),
      random.uniform(1, 2, 3, 0),
    ];
    expect(new Set(draws).size).toBe(draws.length);
  });
});

describe("permutation", () => {
  it("holds every number once", () => {
    for (const n of [0, 1, 2, 1000])
      expect([...random.permutation(n, Stream.Shuffle, 3)].sort((a, b) => a - b)).toEqual(
        Array.from({ length: n }, (_, i) => i),
      );
  });

  it("gives every order of three equally often", () => {
    const counts = new Map<string, number>();
    for (let epoch = 0; epoch < 6000; epoch++) {
      const order = random.permutation(3, Stream.Shuffle, epoch).join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });
});

describe("errors", () => {
  it("name what was expected", () => {
    expect(() => new CounterRandom(-1)).toThrow(
      "seed: expected an integer from 0 to 9007199254740991, got -1",
    );
    expect(() => new CounterRandom(0.5)).toThrow("got 0.5");
    expect(() => random.uniform(0, 2 ** 32, 0, 0)).toThrow("got 0, 4294967296, 0");
    expect(() => random.fillNormal(new Float32Array(2), 0, 0, 0, 2 ** 34 - 1)).toThrow("[0, 2^34)");
    expect(() => random.permutation(1.5, 0, 0)).toThrow("got 1.5");
  });
});
