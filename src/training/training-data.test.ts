import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../hub/testing/temporary-folder.js";
import { tinyRunConfig, writeCorpus } from "./testing/tiny-run.js";
import { loadTrainingData } from "./training-data.js";

it("has validation rows from all over the texts, the same for every seed of a run", async () => {
  const folder = temporaryFolder();
  const [corpus, valid] = [writeCorpus(folder), join(folder, "valid.jsonl")];
  const documents = Array.from({ length: 120 }, (_, i) => `${JSON.stringify({ text: `text ${i}.` })}\n`);
  writeFileSync(valid, documents.join(""));
  const numbersOf = async (seed: number) => {
    const config = tinyRunConfig(corpus, "masked", {
      data: { valid: [valid] },
      training: { seed, packing: false },
    });
    const { valid: rows, tokenizer } = await loadTrainingData(config);
    const texts = Array.from({ length: rows.rowsInEpoch() }, (_, i) => {
      const { ids, segment } = rows.row(i);
      return tokenizer.decode(ids.filter((id, p) => segment[p] === 0 && id < tokenizer.vocabSize));
    });
    return texts.map((text) => Number(/text (\d+)\./.exec(text)![1]));
  };
  const [numbers, others] = [await numbersOf(1), await numbersOf(2)];
  expect(numbers).toEqual(others);
  expect(numbers.toSorted((a, b) => a - b)).toEqual(documents.map((_, i) => i));
  // Of the first 24 of 120, some are from each quarter.
  const quarters = numbers.slice(0, 24).map((number) => Math.floor(number / 30));
  expect(new Set(quarters).size).toBe(4);
});

it("has validation rows of texts as long as all are, where short ones share a row", async () => {
  const folder = temporaryFolder();
  const [corpus, valid] = [writeCorpus(folder), join(folder, "valid.jsonl")];
  const lines = Array.from({ length: 400 }, (_, i) => JSON.stringify({ text: "a b ".repeat(1 + (i % 10)) }));
  writeFileSync(valid, `${lines.join("\n")}\n`);
  const config = tinyRunConfig(corpus, "masked", { data: { valid: [valid] } });
  const { valid: rows, validCorpus } = await loadTrainingData(config);
  const lengthOf = (documents: readonly number[]) =>
    documents.reduce((sum, document) => sum + validCorpus.length(document), 0) / documents.length;
  const first = Array.from({ length: 32 }, (_, i) => [...rows.documentsOf(i)]).flat();
  const share = lengthOf(first) / lengthOf(lines.map((_, i) => i));
  expect(Math.abs(share - 1)).toBeLessThan(0.1);
});
