/** @file Which texts are trained and validated on, and what happens to broken records. */
import { z } from "zod";
import { MOST } from "./limits.js";

export const dataConfigSchema = z.strictObject({
  train: z
    .array(z.string().min(1))
    .default([])
    .describe("files or folders to train on (.jsonl, .txt, source code, .gz); none: the embedded corpus"),
  valid: z
    .array(z.string().min(1))
    .default([])
    .describe("files or folders to validate on; none: a share of the training documents is held out"),
  documentPer: z
    .enum(["file", "folder"])
    .default("file")
    .describe("what one document is inside a folder: each text file, or all files of a folder together"),
  validFraction: z
    .number()
    .gt(0)
    .lt(1)
    .default(0.05)
    .describe("share of the training documents held out when `valid` is empty"),
  onBadRecord: z
    .enum(["stop", "skip"])
    .default("stop")
    .describe("a broken line stops the run with its file and line, or is skipped and counted"),
  padTargets: z
    .int()
    .min(1)
    .max(MOST)
    .nullable()
    .default(null)
    .describe(
      "fill documents up to this many tokens with [PAD] targets, so that length is learned; null: do not",
    ),
  gapRate: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe(
      "share of the training documents with gaps: parts of the text are given, the others to be written (for prompts and infilling)",
    ),
  tokenizer: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe("tokenizer.json to use; null: one of model.vocabSize tokens is trained on the training texts"),
});

/** The texts of a run (each field: `moe-diffuseq config --list`, or `configFields()`). */
export type DataConfig = z.infer<typeof dataConfigSchema>;
