/** @file What is said when a loss or a gradient is not finite: nothing was updated by that step, and what was saved last is whole. */
import { UserError } from "../errors.js";
import type { StepResult } from "./step.js";

/** @param saved step of the newest checkpoint; -1: there is none */
export function notFinite(step: number, { loss, terms, gradNorm }: StepResult, saved: number): UserError {
  const broken = Object.entries(terms)
    .filter(([, value]) => !Number.isFinite(value))
    .map(([name]) => name);
  const cause =
    broken.length > 0
      ? `the term${broken.length > 1 ? "s" : ""} ${broken.join(", ")} of the loss`
      : Number.isFinite(loss)
        ? `the gradient (norm ${gradNorm})`
        : "the loss";
  const kept =
    saved >= 0
      ? `The checkpoint of step ${saved} is kept`
      : "There is no checkpoint yet: the run stopped before its first";
  return new UserError(
    `Step ${step}: ${cause} is not finite, so the run stopped before the update. ${kept}. ` +
      "Start a new run (another --out: a resumed one keeps its settings) with a lower training.learningRate, a longer training.warmupRatio or a lower training.maxGradNorm.",
  );
}
