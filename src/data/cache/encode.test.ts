import { expect, it } from "vitest";
import { Tokenizer } from "../tokenizer.js";
import { createEncoder, type Encoder, encodeBatch, encodeInOrder, type Parts } from "./encode.js";

it("threads of which one has ended encode nothing more, and say why", async () => {
  const tokenizer = await Tokenizer.train(["abc"], { vocabSize: 259 });
  const encoder = createEncoder(tokenizer, 2);
  const batch: Parts[] = [["abc"], ["a", "b"]];
  try {
    expect(await encoder.encode(batch)).toEqual(encodeBatch(tokenizer, batch));
    await expect(encoder.encode([[null as never]])).rejects.toThrow(TypeError);
    for (let i = 0; i < 2 * encoder.ahead; i++)
      await expect(encoder.encode(batch)).rejects.toThrow(TypeError);
  } finally {
    await encoder.close();
  }
});

it.each([
  ["short texts: as many batches as the threads want", 1000, 8],
  ["texts of 40 Mi characters: two of them", 40 << 20, 2],
  ["texts of 70 Mi characters: one at a time", 70 << 20, 1],
])("reads ahead of %s", async (_, length, ahead) => {
  const documents: Parts[] = [["x".repeat(length - 1), "y"]];
  const empty = encodeBatch(await Tokenizer.train(["abc"], { vocabSize: 259 }), []);
  const encoder: Encoder = { ahead: 8, encode: async () => empty, close: async () => {} };
  let pulled = 0;
  async function* batches() {
    for (let number = 0; number < 20; number++) {
      pulled++;
      yield { number, documents };
    }
  }
  const got: number[] = [];
  let most = 0;
  for await (const { batch } of encodeInOrder(batches(), encoder)) {
    most = Math.max(most, pulled - got.length);
    got.push(batch.number);
  }
  expect(got).toEqual([...Array(20).keys()]);
  expect(most).toBe(ahead);
});
