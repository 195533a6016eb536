/** @file For tests: what a run leaves that does not depend on the clock, and a run that stops early. */
import { join } from "node:path";
import { readSafetensors } from "../../hub/safetensors.js";
import { readMetrics } from "../metrics-log.js";
import type { TrainEvent, TrainOptions } from "../trainer.js";

/** The log of the run in `out`, without the clock's part. */
export const lossesOf = (out: string) =>
  readMetrics(join(out, "metrics.jsonl")).map(({ seconds: _s, tokensPerSecond: _t, ...rest }) => rest);

export const weightsOf = async (out: string) =>
  (await readSafetensors(join(out, "model.safetensors"))).tensors;

/** Options of a run that is aborted after `steps` steps. */
export function stopAfter(steps: number): Pick<TrainOptions, "signal" | "onEvent"> {
  const controller = new AbortController();
  const onEvent = (event: TrainEvent) => {
    if (event.kind === "step" && event.metrics.step === steps) controller.abort();
  };
  return { signal: controller.signal, onEvent };
}
