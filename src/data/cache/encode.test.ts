import { expect, it } from "vitest";
import { Tokenizer } from "../tokenizer.js";
import { createEncoder, encodeBatch, type Parts } from "./encode.js";

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
