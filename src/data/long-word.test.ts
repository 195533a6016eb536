import fc from "fast-check";
import { expect, it } from "vitest";
import { embeddedCorpus } from "./embedded.js";
import { LongWordEncoder } from "./long-word.js";
import { Tokenizer, type TokenizerJson } from "./tokenizer.js";

const texts = embeddedCorpus()
  .slice(0, 4)
  .map(({ text }) => text!);
// Runs of few letters merge in many ways.
const words = [..."abc"].map((letter) => letter.repeat(40)).concat("abab cabcab ababab", "aabbaabb");

it("gives the ids of Hugging Face's tokenizers for every word", async () => {
  const tokenizer = await Tokenizer.train([...texts, ...words], { vocabSize: 1000 });
  const encoder = LongWordEncoder.of(tokenizer.toJSON())!;
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "c", "th", "e", "é"), maxLength: 300 });
  fc.assert(
    fc.property(fc.oneof(letters, fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 300 })), (word) => {
      expect(encoder.encode(word)).toEqual(tokenizer.encode(word));
    }),
    { numRuns: 300, seed: 1 },
  );
  // From some length on the tokenizer uses it too.
  const long = "abcabéab".repeat(1000);
  expect(tokenizer.decode(tokenizer.encode(long))).toBe(long);
  expect(tokenizer.encode(long)).toEqual(encoder.encode(long));
});

it("leaves vocabularies of other rules alone", async () => {
  const json = (await Tokenizer.train(texts, { vocabSize: 300 })).toJSON();
  const older = json.model.merges.map((pair) => pair.join(" ")) as never;
  const withModel = (model: object) => ({ ...json, model: { ...json.model, ...model } }) as TokenizerJson;
  const encode = (model: object) => LongWordEncoder.of(withModel(model))?.encode("the other");
  expect(encode({ merges: older })).toEqual(encode({}));
  expect(encode({ end_of_word_suffix: "</w>" })).toBeUndefined();
  expect(encode({ merges: [["a", "nowhere"]] })).toBeUndefined();
});
