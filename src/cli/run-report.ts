/** @file The report of a run: what its directory says of it, as the report room draws it. */
import { basename } from "node:path";
import { costOf } from "../model/cost.js";
import type { ReportData } from "../report/data.js";
import { readMetrics } from "../training/metrics-log.js";
import { RunDirectory } from "../training/run-directory.js";
import { version } from "../version.js";
import { attentionGroups } from "./attention-groups.js";

/** Names of texts that are told; the others are counted. */
const NAMED_TEXTS = 3;

/** @throws UserError when there is no run in `path` */
export async function runReport(path: string): Promise<ReportData> {
  const { config, metricsPath } = await RunDirectory.open(path);
  const { model, training } = config;
  const { batchSize, gradientAccumulation, sequenceLength } = training;
  const { parameters } = costOf(model, { batchSize, length: sequenceLength });
  const metrics = readMetrics(metricsPath);
  const last = metrics.findLast(({ seconds }) => Number(seconds) > 0);
  const [tokens, seconds] = [Number(last?.tokens ?? 0), Number(last?.seconds ?? 0)];
  return {
    title: basename(path),
    run: {
      preset: config.preset ?? undefined,
      parameters: { total: parameters.total, active: parameters.active },
      tokens,
      ...(last ? { tokensPerSecond: tokens / seconds, minutes: seconds / 60 } : {}),
      corpus: corpusOf(config.data.train),
      seed: training.seed,
      versions: { "moe-diffuseq": version, node: process.versions.node },
      more: {
        "Sequence length": sequenceLength,
        "Sequences a step": batchSize * gradientAccumulation,
        Layers: model.numLayers,
        "Hidden size": model.hiddenSize,
        "Experts a layer": model.experts.numExperts,
        Vocabulary: model.vocabSize,
      },
    },
    metrics,
    attention: attentionGroups(config),
  };
}

function corpusOf(texts: readonly string[]): string {
  if (texts.length === 0) return "State of the Union addresses, 1790 to 2021 (embedded)";
  const named = texts.slice(0, NAMED_TEXTS).map((path) => basename(path));
  const more = texts.length - named.length;
  return `${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
