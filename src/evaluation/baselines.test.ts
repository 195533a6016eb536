import { describe, expect, it } from "vitest";
import { packRows, type Row } from "../data/index.js";
import { CounterRandom } from "../random/index.js";
import { behindBound, ngramBaselines, ngramOrders, textsOf } from "./baselines.js";

const tokenizer = {
  vocabSize: 10,
  special: { pad: 0, cls: 1, sep: 2 },
  byteLengths: Uint16Array.of(0, 0, 0, 1, 1, 1, 1, 1, 1, 2),
};
/** Document i: 3 + i % 7 repeated, then [SEP]. */
const document = (i: number, length: number) => ({
  id: i,
  ids: Int32Array.from({ length }, (_, k) => (k === length - 1 ? 2 : 3 + (i % 7))),
  given: Uint8Array.from({ length }, (_, k) => Number(i % 2 === 1 && k < 2)),
});
const documents = Array.from({ length: 12 }, (_, i) => document(i, 4 + (i % 3)));
const rowsOf = (shuffle: CounterRandom | null) =>
  packRows(documents, { length: 16, tokenizer, globalTokens: 2, shuffle });

describe("textsOf", () => {
  it("gives back the documents of rows, without padding and learned globals", () => {
    const source = rowsOf(new CounterRandom(1));
    const rows: Row[] = Array.from({ length: source.rowsInEpoch(0) }, (_, i) => source.row(i));
    const found = [...textsOf(rows, 10)];
    const key = ({ ids, given }: { ids: Int32Array; given: Uint8Array }) => `${ids}/${given}`;
    expect(found.map(key).sort()).toEqual(documents.map(key).sort());
  });
});

describe("ngramBaselines", () => {
  const valid = rowsOf(null);
  const run = async (trainedRows: number) => {
    const train = rowsOf(new CounterRandom(1));
    return (await ngramBaselines({ train, trainedRows, valid, sequences: 2, tokenizer })).baselines;
  };

  it("learns from the rows that were trained on, in their order", async () => {
    const source = rowsOf(new CounterRandom(1));
    const targets = ({ given }: Row) => given.filter((flag) => flag === 0).length;
    expect((await run(3)).trainTokens).toBe([0, 1, 2].reduce((sum, i) => sum + targets(source.row(i)), 0));
    expect((await run(3)).tokens).toBe(targets(valid.row(0)) + targets(valid.row(1)));
    expect(await run(0)).toMatchObject({ trainTokens: 0, epochs: 0 });
  });

  it("counts every text once, however often it came round", async () => {
    const epoch = rowsOf(new CounterRandom(1)).rowsInEpoch(0);
    const once = await run(epoch);
    const often = await run(4 * epoch);
    expect(often).toEqual({ ...once, epochs: 4 });
  });

  it("comes to nothing when it is stopped while it counts", async () => {
    const controller = new AbortController();
    const [train, { signal }] = [rowsOf(null), controller];
    setTimeout(() => controller.abort(new Error("stop")));
    await expect(
      ngramBaselines({ train, trainedRows: 3, valid, sequences: 2, tokenizer, signal }),
    ).rejects.toThrow("stop");
  });

  it("scores each document over its rows, so that differences are paired", async () => {
    // Documents of up to 6 tokens in rows of 5, learned globals included.
    const whole = documents.filter((_, i) => i % 2 === 0).slice(0, 5);
    const valid = packRows(whole, { length: 5, tokenizer, globalTokens: 2 });
    const sequences = valid.rowsInEpoch();
    const { baselines, documentNats } = await ngramBaselines({
      train: rowsOf(null),
      trainedRows: 5,
      valid,
      sequences,
      tokenizer,
    });
    expect(sequences).toBeGreaterThan(5);
    expect([...documentNats.bigram.keys()].sort()).toEqual([0, 1, 2, 3, 4]);
    const bytesOf = ({ ids, given }: { ids: Int32Array; given: Uint8Array }) =>
      ids.reduce((sum, id, p) => sum + (given[p] === 0 ? tokenizer.byteLengths[id] : 0), 0);
    const bounds = new Map(
      whole.map((own, document) => {
        const bytes = bytesOf(own);
        return [document, { bound: documentNats.bigram.get(document)! - 0.1 * bytes, bytes }];
      }),
    );
    const total = (value: (own: { bound: number; bytes: number }) => number) =>
      [...bounds.values()].reduce((sum, own) => sum + value(own), 0);
    const behind = behindBound(documentNats, bounds);
    expect(behind.bigram.mean).toBeCloseTo(0.1 / Math.LN2, 10);
    expect(behind.bigram.standardError).toBeCloseTo(0, 10);
    const bits = total(({ bound }) => bound) / Math.LN2 / total(({ bytes }) => bytes);
    for (const order of ngramOrders)
      expect(behind[order].mean).toBeCloseTo(baselines[order].bitsPerByte! - bits, 10);
  });
});
