/** @file The step that scripts here measure: the reference configuration `bench-small` under a preset. */
import { readFileSync } from "node:fs";
import { type Workload, workload } from "../src/benchmark/workload.js";
import { configFromLayers, findPreset, type PartialRunConfig } from "../src/config/index.js";

export interface ReferenceOptions {
  readonly preset: string;
  /** Documents in a row of 2,048; with more than one the row also ends in padding. */
  readonly documents: number;
  /** Rows. Default 2. */
  readonly batchSize?: number;
  /** Laid over everything else. */
  readonly extra?: PartialRunConfig;
}

/** hidden 256, embedding 128, 4 heads, 4 layers, 8 experts top-2 of 512, window 128, 16 global tokens, vocabulary 8,192, 2 x 2,048. */
const benchSmall = JSON.parse(
  readFileSync(new URL("../configs/bench-small.json", import.meta.url), "utf8"),
) as PartialRunConfig;

/** Preset "masked" or "moe-diffuseq" at the sizes of `bench-small`. */
export const referenceStep = ({ preset, documents, batchSize = 2, extra = {} }: ReferenceOptions): Workload =>
  workload(
    configFromLayers([
      { name: "preset", config: findPreset(preset).config },
      { name: "bench-small", config: { ...benchSmall, preset } },
      { name: "batch", config: { training: { batchSize } } },
      { name: "extra", config: extra },
    ]),
    documents,
  );
