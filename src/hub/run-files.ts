/** @file The files that a run has in its directory, by name; what each is says training/run-directory.ts. */

/** What a start writes into a run's directory, in this order; and what comes later. */
export const STARTING_FILES: readonly string[] = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "data.json",
  "metrics.jsonl",
];
const LATER_FILES: readonly string[] = ["model.safetensors", "profile.txt", "profile.svg", "profile.json"];
export const RUN_FILES: readonly string[] = [...STARTING_FILES, ...LATER_FILES];
