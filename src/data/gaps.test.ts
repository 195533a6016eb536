import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CounterRandom } from "../random/index.js";
import { type GivenText, withGaps } from "./gaps.js";
import { packRows } from "./rows.js";

const random = new CounterRandom(3);
const PAD = 0;
const SEP = 2;

/** `source` given tokens, `targets` to be written, the last of them [SEP], then [PAD] targets. */
function documentOf(source: number, targets: number, pads = 0) {
  const length = source + targets + pads;
  const ids = Int32Array.from({ length }, (_, i) => (i < source + targets - 1 ? 5 + i : PAD));
  ids[source + targets - 1] = SEP;
  return { ids, given: Uint8Array.from({ length }, (_, i) => (i < source ? 1 : 0)) };
}

const drawn = (rate: number, sequence: number, source: number, targets: number, pads = 0): GivenText => {
  const { ids, given } = documentOf(source, targets, pads);
  return withGaps(ids, given, PAD, { rate, random }, sequence, 0);
};
const flagsOf = ({ given, length }: GivenText) => [...given.subarray(0, length)];
/** Number of places where given and missing meet. */
const meetings = (flags: readonly number[]) =>
  flags.filter((flag, i) => i > 0 && flag !== flags[i - 1]).length;

describe("gaps", () => {
  it("leave something to write, keep the source given, and leave out [PAD] behind a given end only", () => {
    fc.assert(
      fc.property(
        fc.nat(20),
        fc.integer({ min: 1, max: 70 }),
        fc.nat(9),
        fc.nat(1e6),
        (source, n, pads, row) => {
          const shown = drawn(1, row, source, n, pads);
          const flags = flagsOf(shown);
          expect(flags.slice(0, source)).toEqual(new Array(source).fill(1));
          const text = flags.slice(source, source + n);
          expect(text).toContain(0);
          const endGiven = text[n - 1] === 1;
          expect(flags.slice(source + n)).toEqual(new Array(endGiven ? 0 : pads).fill(0));
        },
      ),
    );
  });

  it("are as frequent as the rate says, and give half of the text on average, in one or many spans", () => {
    const n = 200;
    const all = Array.from({ length: 2000 }, (_, row) => flagsOf(drawn(0.4, row, 0, n)));
    const open = all.filter((flags) => flags.includes(1));
    // Five standard errors; a document in a hundred or so is cut at its very ends and has no gap.
    expect(Math.abs(open.length / all.length - 0.4)).toBeLessThan(0.055);
    const share = open.flat().reduce((sum, flag) => sum + flag, 0) / (open.length * n);
    expect(Math.abs(share - 0.5)).toBeLessThan(0.04);
    const spans = open.map((flags) => meetings(flags));
    expect(spans.filter((count) => count === 1).length).toBeGreaterThan(0.1 * open.length);
    expect(spans.filter((count) => count > 8).length).toBeGreaterThan(0.2 * open.length);
    expect(Math.max(...spans)).toBeLessThan(32);
    // A beginning, an end, a middle and both ends all occur.
    for (const ends of [
      [1, 0],
      [0, 1],
      [1, 1],
      [0, 0],
    ])
      expect(open.some((flags) => flags[0] === ends[0] && flags[n - 1] === ends[1])).toBe(true);
  });

  it("are none at rate 0, and depend on row and place in it alone", () => {
    expect(flagsOf(drawn(0, 4, 2, 9))).toEqual([1, 1, ...new Array(9).fill(0)]);
    expect(drawn(1, 4, 2, 9)).toEqual(drawn(1, 4, 2, 9));
    expect(flagsOf(drawn(1, 7, 0, 40))).not.toEqual(flagsOf(drawn(1, 8, 0, 40)));
  });

  it("stand in rows: the same tokens, other flags", () => {
    const documents = Array.from({ length: 30 }, (_, id) => ({ id, ...documentOf(2, 5 + (id % 13), 3) }));
    const tokenizer = { vocabSize: 100, special: { pad: PAD, cls: 1, sep: SEP } };
    const options = { length: 48, tokenizer, globalTokens: 2 };
    const [plain, gapped] = [null, { rate: 1, random }].map((gaps) =>
      packRows(documents, { ...options, gaps }),
    );
    expect(gapped.rowsInEpoch()).toBe(plain.rowsInEpoch());
    let given = 0;
    for (let r = 0; r < plain.rowsInEpoch(); r++) {
      const [before, after] = [plain.row(r), gapped.row(r)];
      const used = ({ ids, segment }: typeof before) =>
        [...ids].filter((id, i) => segment[i] >= 0 && id !== PAD);
      expect(used(after)).toEqual(used(before));
      const globals = ({ ids, globals: at }: typeof before) => Array.from(at, (p) => ids[p]);
      expect(globals(after)).toEqual(globals(before));
      const count = (row: typeof before) =>
        row.given.filter((flag, i) => flag === 1 && row.segment[i] >= 0).length;
      given += count(after) - count(before);
      after.ids.forEach((id, i) => {
        if (after.segment[i] < 0) expect([id, after.given[i], after.position[i]]).toEqual([PAD, 1, 0]);
      });
    }
    expect(given).toBeGreaterThan(60);
  });
});
