import { expect, it } from "vitest";
import { TokenCorpus } from "../data/index.js";
import { inProcessRanks } from "../distributed/testing/in-process.js";
import { requireSameTexts } from "./open-run.js";

const corpus = (...documents: number[][]) => {
  const made = new TokenCorpus(300);
  for (const ids of documents) made.append(ids);
  return made;
};
const valid = corpus([9, 9]);

it("ranks that read other texts than rank 0 are named, on all ranks", async () => {
  const texts = [corpus([1, 2], [3]), corpus([1, 2], [3]), corpus([1], [2, 3])];
  const outcomes = await Promise.allSettled(
    inProcessRanks(3).map((ranks, r) =>
      requireSameTexts({ trainCorpus: texts[r], validCorpus: valid }, ranks),
    ),
  );
  for (const outcome of outcomes)
    expect(outcome).toMatchObject({
      status: "rejected",
      reason: {
        name: "UserError",
        message: expect.stringContaining("but rank 2 read others than rank 0"),
      },
    });
  const same = inProcessRanks(2).map((ranks, r) =>
    requireSameTexts({ trainCorpus: texts[r], validCorpus: valid }, ranks),
  );
  await expect(Promise.all(same)).resolves.toBeDefined();
});

it("ranks with another vocabulary than rank 0 are named, though their texts are the same files", async () => {
  const train = [{ path: "texts.jsonl", files: 1, bytes: 9, sha256: "0" }];
  const outcomes = await Promise.allSettled(
    inProcessRanks(2).map((ranks, r) => {
      const texts = { train, valid: [], tokenizer: `vocabulary ${r}`, pairs: false };
      return requireSameTexts({ trainCorpus: valid, validCorpus: valid, texts }, ranks);
    }),
  );
  for (const outcome of outcomes)
    expect(outcome).toMatchObject({
      status: "rejected",
      reason: { message: expect.stringMatching(/same texts and vocabulary .* but rank 1 read others/) },
    });
});
