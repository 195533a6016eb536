import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { CounterRandom } from "../random/index.js";
import type { TokenDocument } from "./corpus.js";
import { packRows, type Row, type RowOptions, type RowSource } from "./rows.js";

const tokenizer = { vocabSize: 1000, special: { pad: 0, cls: 1, sep: 2 } };
const shuffle = new CounterRandom(5);
const MARK = 3;

/** Document `id`: distinct ids, so that every token can be traced; given on the first `given` positions. */
const documentOf = (id: number, length: number, given = 0): TokenDocument => ({
  id,
  ids: Int32Array.from({ length }, (_, i) => MARK + ((id * 97 + i) % 990)),
  given: Uint8Array.from({ length }, (_, i) => (i < given ? 1 : 0)),
});
const corpusOf = (lengths: readonly number[]) => lengths.map((length, id) => documentOf(id, length));
const lengths = Array.from({ length: 80 }, (_, i) => 1 + ((i * i * 13) % 61));

const source = (options: Partial<RowOptions> & { lengths?: readonly number[] } = {}): RowSource =>
  packRows(corpusOf(options.lengths ?? lengths), { length: 64, tokenizer, ...options });

const rowsOf = (rows: RowSource, epoch = 0): Row[] => {
  let first = 0;
  for (let e = 0; e < epoch; e++) first += rows.rowsInEpoch(e);
  return Array.from({ length: rows.rowsInEpoch(epoch) }, (_, i) => rows.row(first + i));
};

/** The text tokens of every segment of a row. */
const segmentsOf = (row: Row): number[][] => {
  const segments: number[][] = [];
  row.segment.forEach((segment, i) => {
    if (segment < 0) return;
    segments[segment] ??= [];
    if (row.ids[i] < tokenizer.vocabSize) segments[segment].push(row.ids[i]);
  });
  return segments;
};

/** What must hold of every row. */
function checkRow(row: Row, { globalTokens = 0 }, maxGlobals: number): void {
  expect(row.globals.length).toBeLessThanOrEqual(maxGlobals);
  let padding = false;
  for (let i = 0; i < row.ids.length; i++) {
    const segment = row.segment[i];
    padding ||= segment < 0;
    if (padding) {
      expect([row.ids[i], row.given[i], segment, row.position[i]]).toEqual([0, 1, -1, 0]);
      continue;
    }
    const begins = i === 0 || row.segment[i - 1] !== segment;
    expect(segment).toBe(i === 0 ? 0 : row.segment[i - 1] + (begins ? 1 : 0));
    expect(row.position[i]).toBe(begins ? 0 : row.position[i - 1] + 1);
    const learned = row.position[i] < globalTokens;
    expect(row.ids[i] >= tokenizer.vocabSize).toBe(learned);
    if (learned) {
      expect(row.ids[i]).toBe(tokenizer.vocabSize + row.position[i]);
      expect(row.given[i]).toBe(1);
      expect(row.globals).toContain(i);
    }
  }
}

it("knows of which document each segment is, in any order and section", () => {
  const corpus = corpusOf(lengths);
  for (const options of [{ shuffle }, { shuffle, sectionBlocks: 1, globalTokens: 2 }, {}]) {
    const rows = source({ ...options, length: 24 });
    const found = lengths.map(() => 0);
    for (let index = 0; index < rows.rowsInEpoch(0); index++) {
      const segments = segmentsOf(rows.row(index));
      const documents = rows.documentsOf(index);
      expect(documents).toHaveLength(segments.length);
      for (const [i, ids] of segments.entries()) {
        expect(corpus[documents[i]].ids.join()).toContain(ids.join());
        found[documents[i]] += ids.length;
      }
    }
    expect(found).toEqual(lengths);
  }
});

describe("packing", () => {
  it("keeps every token of every document exactly once an epoch, in rows that hold together", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 0, max: 5 }),
        fc.integer({ min: 1, max: 20 }),
        fc.boolean(),
        fc.boolean(),
        (some, globalTokens, lookAhead, packing, shuffled) => {
          const options = {
            globalTokens,
            lookAhead,
            packing,
            shuffle: shuffled ? shuffle : null,
            length: 32,
          };
          const rows = source({ ...options, lengths: some });
          const seen: string[] = [];
          for (const row of rowsOf(rows)) {
            checkRow(row, options, rows.maxGlobals);
            const segments = segmentsOf(row);
            if (!packing) expect(segments).toHaveLength(1);
            for (const segment of segments) seen.push(segment.join());
          }
          const capacity = 32 - globalTokens;
          const expected = corpusOf(some).flatMap(({ ids }) =>
            Array.from({ length: Math.ceil(ids.length / capacity) }, (_, i) =>
              ids.slice(i * capacity, (i + 1) * capacity).join(),
            ),
          );
          expect(seen.sort()).toEqual(expected.sort());
        },
      ),
      { numRuns: 60 },
    );
  });

  it("fills rows well, and better with a look-ahead", () => {
    const tokens = lengths.reduce((sum, length) => sum + length);
    const fillRatio = (lookAhead: number) => tokens / (64 * source({ lookAhead }).rowsInEpoch());
    expect(fillRatio(64)).toBeGreaterThan(fillRatio(1));
    expect(fillRatio(64)).toBeGreaterThan(0.95);
    expect(source({ packing: false, globalTokens: 2, lengths: [30, 70] }).rowsInEpoch()).toBe(3);
  });

  it("cuts a long document into consecutive pieces with positions of their own", () => {
    const rows = source({ lengths: [20], length: 10, globalTokens: 2 });
    const all = rowsOf(rows);
    expect(all.map((row) => [...row.position])).toEqual([
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
      [0, 1, 2, 3, 4, 5, 0, 0, 0, 0],
    ]);
    expect(all.flatMap((row) => segmentsOf(row)[0])).toEqual([...documentOf(0, 20).ids]);
  });
});

describe("order", () => {
  it("is the corpus order without shuffling, the same every epoch", () => {
    const rows = source({ lengths: [60, 60, 60] });
    expect([0, 1, 2, 3].map((i) => rows.row(i).ids[0])).toEqual([3, 100, 197, 3]);
    expect([0, 1, 2, 3].map((i) => rows.row(i).sequence)).toEqual([0, 1, 2, 3]);
  });

  it("changes with epoch and seed, and is the same for the same", () => {
    const order = (seed: number, epoch: number) =>
      rowsOf(source({ shuffle: new CounterRandom(seed) }), epoch)
        .map(({ ids }) => [...ids].join())
        .join("|");
    expect(order(1, 0)).toBe(order(1, 0));
    expect(order(1, 1)).toBe(order(1, 1));
    expect(order(1, 0)).not.toBe(order(1, 1));
    expect(order(1, 0)).not.toBe(order(2, 0));
  });

  it("gives any row on demand, whatever was asked before", () => {
    const forward = source({ shuffle, globalTokens: 1 });
    const straight = Array.from({ length: 120 }, (_, i) => forward.row(i));
    expect(straight.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 120 }, (_, i) => i));
    const resumed = source({ shuffle, globalTokens: 1 });
    for (const i of [119, 3, 70, 71, 0, 118]) expect(resumed.row(i)).toEqual(straight[i]);
    expect(resumed.rowsInEpoch(0) + resumed.rowsInEpoch(1)).toBeLessThan(119);
    expect(() => resumed.row(-1)).toThrow(RangeError);
  });
});

describe("a corpus of many sections", () => {
  // Three sections of 512 pieces and one of 100.
  const many = Array.from({ length: 3 * 512 + 100 }, (_, i) => 1 + ((i * i * 13) % 61));
  const all = (options: Partial<RowOptions> = {}) =>
    source({ lengths: many, sectionBlocks: 1, shuffle, globalTokens: 1, ...options });

  it("keeps every token exactly once an epoch, in another order every epoch", () => {
    const rows = all();
    const expected = corpusOf(many)
      .flatMap(({ ids }) =>
        Array.from({ length: Math.ceil(ids.length / 63) }, (_, i) => ids.slice(i * 63, (i + 1) * 63).join()),
      )
      .sort();
    const orders = [0, 1].map((epoch) =>
      rowsOf(rows, epoch).flatMap((row, i) => {
        if (i % 50 === 0) checkRow(row, { globalTokens: 1 }, rows.maxGlobals);
        return segmentsOf(row).map((segment) => segment.join());
      }),
    );
    for (const order of orders) expect([...order].sort()).toEqual(expected);
    expect(orders[0]).not.toEqual(orders[1]);
  });

  it("gives any row on demand", () => {
    const forward = all();
    const straight = Array.from({ length: 2 * forward.rowsInEpoch() }, (_, i) => forward.row(i));
    const resumed = all();
    for (let i = straight.length - 1; i >= 0; i -= 97) expect(resumed.row(i)).toEqual(straight[i]);
  });

  it("is in corpus order without shuffling", () => {
    const strict = (sectionBlocks: number) =>
      rowsOf(all({ shuffle: null, packing: false, sectionBlocks })).map(({ ids }) => [...ids]);
    expect(strict(1)).toEqual(strict(256));
  });
});

describe("global tokens", () => {
  const [cls, sep] = [tokenizer.special.cls, tokenizer.special.sep];
  const pairOf = (src: number, trg: number): TokenDocument => ({
    id: 0,
    ids: Int32Array.from([cls, ...Array(src).fill(7), sep, sep, ...Array(trg).fill(8), sep]),
    given: Uint8Array.from({ length: src + trg + 4 }, (_, i) => (i < src + 3 ? 1 : 0)),
  });
  const pairs = [pairOf(3, 2), pairOf(1, 4), pairOf(5, 1)];
  const options = { length: 40, tokenizer, globalTokens: 2, maxTextGlobals: 4 };
  const globalsIn = (row: Row) => [...row.globals].map((i) => row.ids[i]);

  it("makes given separators global, never the target's", () => {
    const rows = packRows(pairs, { ...options, textGlobals: "separators" });
    expect(rows.rowsInEpoch()).toBe(1);
    const each = [1000, 1001, cls, sep, sep];
    expect(globalsIn(rows.row(0))).toEqual([...each, ...each, ...each]);
    expect(rows.row(0).globals.every((i) => rows.row(0).given[i] === 1)).toBe(true);
  });

  it("makes the source global, up to the bound of a document", () => {
    const row = packRows(pairs.slice(0, 2), { ...options, textGlobals: "source" }).row(0);
    expect(globalsIn(row)).toEqual([1000, 1001, cls, 7, 7, 7, 1000, 1001, cls, 7, sep, sep]);
  });

  it("never passes maxGlobals in a row, and refuses a document that would", () => {
    const with_ = (maxGlobals: number) =>
      packRows(pairs, { ...options, textGlobals: "separators", maxGlobals });
    expect(with_(15).rowsInEpoch()).toBe(1);
    expect(with_(14).rowsInEpoch()).toBe(2);
    expect(with_(5).rowsInEpoch()).toBe(3);
    expect(() => with_(4)).toThrow(UserError);
    expect(() => with_(4)).toThrow(/at most 4 global tokens .* got a document with 5/);
  });

  it("suggests a bound that hardly costs rows and admits any document", () => {
    const free = source({ globalTokens: 2, maxGlobals: 1000 });
    const rows = source({ globalTokens: 2 });
    expect(rows.maxGlobals).toBeLessThanOrEqual(
      Math.max(...rowsOf(free).map(({ globals }) => globals.length)),
    );
    expect(rows.rowsInEpoch()).toBeLessThanOrEqual(free.rowsInEpoch() + 1);
    const text = packRows(pairs, { ...options, textGlobals: "source", packing: false, maxTextGlobals: 30 });
    expect(text.maxGlobals).toBe(32);
    expect(source().maxGlobals).toBe(0);
  });
});

describe("global tokens near a block", () => {
  /** Globals of the documents that the positions from `first` on have a part in. */
  const globalsAt = ({ segment, globals }: Row, first: number, span: number) => {
    const here = new Set(segment.slice(first, first + span));
    return globals.filter((p) => here.has(segment[p])).length;
  };
  const many = Array.from({ length: 400 }, (_, i) => (i % 37 === 0 ? 1 + (i % 3) : 20 + ((i * i) % 45)));
  const options = { length: 512, globalTokens: 4, lengths: many, shuffle };

  it("never pass their bound, wherever a block begins, and the bound hardly costs rows", () => {
    const rows = source({ ...options, nearSpan: 16 });
    expect(rows.nearGlobals).toBeLessThanOrEqual(rows.maxGlobals / 4);
    expect(rows.slots).toEqual({ globalSlots: rows.maxGlobals, nearSlots: rows.nearGlobals });
    let most = 0;
    for (const row of [0, 1].flatMap((epoch) => rowsOf(rows, epoch))) {
      checkRow(row, options, rows.maxGlobals);
      for (let first = 0; first + 16 <= 512; first++) most = Math.max(most, globalsAt(row, first, 16));
    }
    expect(most).toBe(rows.nearGlobals);
    expect(rows.rowsInEpoch()).toBeLessThanOrEqual(source(options).rowsInEpoch() * 1.02);
  });

  it("are bounded less where very short documents would fill rows of their own", () => {
    // The longest that fits is taken first, so short ones are left for the end, unshuffled as validation is.
    const tail = [...Array(300).fill(45), ...Array(120).fill(2)];
    for (const order of [shuffle, null]) {
      const unbounded = source({ ...options, lengths: tail, shuffle: order });
      const rows = source({ ...options, lengths: tail, shuffle: order, nearSpan: 16 });
      expect(rows.rowsInEpoch()).toBeLessThanOrEqual(Math.ceil(1.01 * unbounded.rowsInEpoch()));
    }
  });

  it("are held to a bound that is given", () => {
    const rows = source({ ...options, nearSpan: 16, maxGlobals: 200, nearGlobals: 8 });
    for (const row of rowsOf(rows))
      for (let first = 0; first + 16 <= 512; first++)
        expect(globalsAt(row, first, 16)).toBeLessThanOrEqual(8);
    expect(rowsOf(rows).flatMap(segmentsOf)).toHaveLength(many.length);
    expect(() => source({ ...options, globalTokens: 9, nearSpan: 16, nearGlobals: 8 })).toThrow(
      /at most 8 global tokens near one another \(nearGlobals\), got a document with 9/,
    );
  });

  it("are not bounded where that would save little, where gaps shorten documents, or without a block", () => {
    const unbounded = (more: Partial<RowOptions>) => {
      const rows = source({ ...options, ...more });
      expect(rows.nearGlobals).toBe(rows.maxGlobals);
    };
    unbounded({ nearSpan: 200 });
    unbounded({ nearSpan: 16, gaps: { rate: 0.5, random: shuffle } });
    unbounded({ nearSpan: 16, nearGlobals: 8, gaps: { rate: 0.5, random: shuffle } });
    unbounded({});
  });
});

describe("what does not fit", () => {
  it("is refused with a way out", () => {
    expect(() => packRows([], { length: 8, tokenizer })).toThrow(/expected documents/);
    expect(() => source({ globalTokens: 64 })).toThrow(/above the 64 learned global tokens, got 64/);
    expect(() => packRows([documentOf(0, 40, 10)], { length: 32, tokenizer })).toThrow(
      /got document 1 with 40 tokens; raise training.sequenceLength/,
    );
  });
});
