import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { PartialRunConfig } from "../config/index.js";
import { type Document, prepareCache } from "../data/index.js";
import { temporaryFolder } from "../hub/testing/temporary-folder.js";
import { tinyRunConfig } from "./testing/tiny-run.js";
import { heldOutTexts, loadTrainingData } from "./training-data.js";

const folder = temporaryFolder();
const pairs = join(folder, "pairs.jsonl");
const lines = Array.from({ length: 30 }, (_, i) => ({ src: `source ${i}`, trg: `what is said of ${i * i}` }));
writeFileSync(pairs, lines.map((line) => JSON.stringify(line)).join("\n"));

const configOf = (data: PartialRunConfig["data"]) => tinyRunConfig(pairs, "masked", { data });
async function textsOf(config: ReturnType<typeof configOf>): Promise<Document[]> {
  const found: Document[] = [];
  for await (const document of heldOutTexts(config)) found.push(document);
  return found;
}

it.each(["texts", "caches"])("are those that training holds out, in its order: %s", async (kind) => {
  const cache = join(folder, "cache");
  if (kind === "caches") await prepareCache({ data: [pairs], vocabSize: 320, out: cache });
  const config = configOf({ train: [kind === "caches" ? cache : pairs], validFraction: 0.2 });
  const found = await textsOf(config);
  const { validCorpus, tokenizer, close } = await loadTrainingData(config);
  expect(found).toHaveLength(6);
  expect(validCorpus.size).toBe(6);
  for (const [i, { src, trg }] of found.entries()) {
    const text = tokenizer.decode(Array.from(validCorpus.ids(i)));
    expect(text).toContain(src);
    expect(text).toContain(trg);
  }
  close();
});

it("are none where there are validation texts, or the corpus is the embedded one", async () => {
  expect(await textsOf(configOf({ valid: [pairs] }))).toEqual([]);
  expect(await textsOf(configOf({ train: [] }))).toEqual([]);
});
