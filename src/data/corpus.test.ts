import { beforeAll, describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { TokenCorpus, tokenizeDocuments } from "./corpus.js";
import { Tokenizer } from "./tokenizer.js";

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await Tokenizer.train(["abc"], { vocabSize: 259 }); // one token a byte
});

const pair = (src: string, trg: string) => ({ source: "test", src, trg });
const show = (ids: ArrayLike<number>) => tokenizer.decode(ids, { skipSpecial: false });

describe("tokenizeDocuments", () => {
  it("ends free text with the end token, all of it target", async () => {
    const corpus = await tokenizeDocuments([{ source: "test", text: "hé" }], tokenizer);
    const { id, ids, given } = corpus.document(0);
    expect(id).toBe(0);
    expect(show(ids)).toBe("hé[SEP]");
    expect([...given]).toEqual([0, 0, 0, 0]);
    expect(corpus.counts).toMatchObject({ documents: 1, conditional: 0, tokens: 4, bytes: 3 });
  });

  it("gives the source up to and including the second separator", async () => {
    const corpus = await tokenizeDocuments([pair("ab", "c"), pair("", "")], tokenizer);
    expect(show(corpus.ids(0))).toBe("[CLS]ab[SEP][SEP]c[SEP]");
    expect([...corpus.given(0)]).toEqual([1, 1, 1, 1, 1, 0, 0]);
    expect(show(corpus.ids(1))).toBe("[CLS][SEP][SEP][SEP]");
    expect([...corpus.given(1)]).toEqual([1, 1, 1, 0]);
    expect(corpus.counts.conditional).toBe(2);
  });

  it("fills targets up with [PAD] that are targets", async () => {
    const corpus = await tokenizeDocuments([pair("a", "b"), pair("abc", "abcdef")], tokenizer, {
      padTargets: 9,
    });
    expect(show(corpus.ids(0))).toBe("[CLS]a[SEP][SEP]b[SEP][PAD][PAD][PAD]");
    expect([...corpus.given(0)]).toEqual([1, 1, 1, 1, 0, 0, 0, 0, 0]);
    expect(corpus.length(1)).toBe(13);
    expect(corpus.counts.unpadded).toBe(1);
    expect(corpus.counts.bytes).toBe(11);
  });

  it.each([
    ["abcdefgh", "xy", "[CLS]abcd[SEP][SEP]xy[SEP]"],
    ["ab", "stuvwxyz", "[CLS]ab[SEP][SEP]stuv"],
    ["abcdefgh", "stuvwxyz", "[CLS]abc[SEP][SEP]stu"],
    ["abc", "xyz", "[CLS]abc[SEP][SEP]xyz[SEP]"],
  ])("shortens the longer side: %s -> %s", async (src, trg, expected) => {
    const corpus = await tokenizeDocuments([pair(src, trg)], tokenizer, { maxLength: 10 });
    expect(show(corpus.ids(0))).toBe(expected);
    expect(corpus.counts.shortened).toBe(src.length + trg.length > 6 ? 1 : 0);
  });

  it("fills up no target that was cut: its end is none", async () => {
    const documents = [pair("ab", "stuvwxyz"), pair("abcdefgh", "xy"), pair("a", "b")];
    const corpus = await tokenizeDocuments(documents, tokenizer, { maxLength: 10, padTargets: 10 });
    expect([0, 1, 2].map((d) => show(corpus.ids(d)))).toEqual([
      "[CLS]ab[SEP][SEP]stuv",
      "[CLS]abcd[SEP][SEP]xy[SEP]",
      "[CLS]a[SEP][SEP]b[SEP][PAD][PAD][PAD][PAD]",
    ]);
    expect(corpus.counts).toMatchObject({ shortened: 2, unpadded: 1 });
  });

  it("refuses a bound without room", async () => {
    await expect(tokenizeDocuments([], tokenizer, { maxLength: 5 })).rejects.toThrow(UserError);
  });
});

describe("TokenCorpus", () => {
  it.each([100, 70_000])("keeps what is put in, vocabulary %i", (vocabSize) => {
    const documents = Array.from({ length: 300 }, (_, id) => ({
      id,
      ids: Int32Array.from({ length: (id * 7) % 90 }, (_, i) => (id * 31 + i * 977) % vocabSize),
      given: Uint8Array.from({ length: (id * 7) % 90 }, (_, i) => ((id + i) % 3 === 0 ? 1 : 0)),
    }));
    const corpus = TokenCorpus.from(documents, vocabSize);
    expect([...corpus]).toEqual(documents);
    expect(corpus.counts.tokens).toBe(documents.reduce((sum, { ids }) => sum + ids.length, 0));
  });
});
