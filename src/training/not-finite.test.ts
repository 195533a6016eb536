import { expect, it } from "vitest";
import { notFinite } from "./not-finite.js";
import type { StepResult } from "./step.js";

const result = (part: Partial<StepResult>): StepResult => ({
  ...{ loss: 2, terms: { ce: 2 }, gradNorm: 1, applied: false },
  ...{ expertLoad: [], deadExperts: [], routerEntropy: [] },
  ...part,
});

it.each<[string, Partial<StepResult>, string]>([
  [
    "a term",
    { loss: Number.NaN, terms: { ce: 1, mse: Number.NaN } },
    "the term mse of the loss is not finite",
  ],
  [
    "two terms",
    { loss: Number.NaN, terms: { ce: Number.POSITIVE_INFINITY, mse: Number.NaN } },
    "the terms ce, mse of the loss is not finite",
  ],
  ["the sum of terms that are", { loss: Number.POSITIVE_INFINITY }, "the loss is not finite"],
  ["the gradient", { gradNorm: Number.NaN }, "the gradient (norm NaN) is not finite"],
])("names what is not finite: %s", (_, part, cause) => {
  expect(notFinite(7, result(part), 5).message).toContain(`Step 7: ${cause}, so the run stopped`);
});

it("says what is kept", () => {
  expect(notFinite(7, result({}), 5).message).toContain("The checkpoint of step 5 is kept. Start a new run");
  expect(notFinite(1, result({}), 0).message).toContain("The checkpoint of step 0 is kept");
  expect(notFinite(7, result({}), -1).message).toContain("There is no checkpoint yet");
});
