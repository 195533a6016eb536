/** @file What a training run tells while it goes, and at its end. */
import type { StepProfile } from "./profile.js";
import type { StepResult } from "./step.js";
import type { TrainingData } from "./training-data.js";
import type { ValidationResult } from "./validation.js";

/** A line of metrics.jsonl of kind "train". */
export interface TrainMetrics extends StepResult {
  readonly kind: "train";
  readonly step: number;
  readonly tokens: number;
  readonly seconds: number;
  readonly learningRate: number;
  readonly tokensPerSecond: number;
}
/** A line of kind "valid". */
export interface ValidMetrics extends ValidationResult {
  readonly kind: "valid";
  readonly step: number;
  readonly tokens: number;
  readonly seconds: number;
  /**
   * Which rows it is of: the first digits of a checksum of their texts and order. Runs of before, which took the first rows of the texts,
   * have another or none.
   */
  readonly texts?: string;
}

export type TrainEvent =
  | { readonly kind: "preparing"; readonly what: string }
  | {
      readonly kind: "ready";
      readonly data: TrainingData;
      readonly parameters: number;
      readonly step: number;
      readonly ranks: number;
    }
  /** Told when the run has begun: one that is stopped before its first step tells nothing. */
  | { readonly kind: "profile"; readonly profile: StepProfile; readonly tokens: number }
  | { readonly kind: "step"; readonly metrics: TrainMetrics; readonly secondsLeft: number | null }
  | { readonly kind: "validating" }
  | { readonly kind: "validation"; readonly metrics: ValidMetrics }
  | { readonly kind: "checkpoint"; readonly folder: string; readonly step: number }
  /** A sentence: something was mended, or could not be removed. The run goes on. */
  | { readonly kind: "notice"; readonly message: string };

export interface TrainSummary {
  readonly out: string;
  /** Steps, tokens (positions) and seconds of the whole run: of all processes that worked at it, validation and saving included. */
  readonly steps: number;
  readonly tokens: number;
  readonly seconds: number;
  /** Of the last step; null: this process made none. */
  readonly loss: number | null;
  readonly validation: ValidMetrics | null;
  readonly parameters: number;
  /** Stopped by the signal before the budget was spent: resume continues. */
  readonly interrupted: boolean;
}
