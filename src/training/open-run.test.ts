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
