/** @file A model in words and numbers: its parts, what a training step costs, and what each layer's attention looks at. */
import type { RunConfig } from "../config/index.js";
import {
  computedPairs,
  type HeadGroup,
  headGroups,
  layerPattern,
  type RowLayout,
  sees,
} from "../model/attention/pattern.js";
import { type FlopPart, globalSlotsOf, type ModelCost } from "../model/cost.js";
import { range, runs } from "./attention-groups.js";
import { formatBytes as bytes, formatCount as count, formatUnit as unit } from "./format.js";

/** Parameters, cost of a training step, and the attention of every layer, as text of at most 100 columns. */
export const describeModel = (config: RunConfig, cost: ModelCost): string =>
  [
    ...describeParameters(config, cost),
    "",
    ...describeStep(config, cost),
    "",
    ...describeAttention(config),
  ].join("\n");

function describeParameters({ model }: RunConfig, { parameters }: ModelCost): string[] {
  const { byPart, total, trainable, active } = parameters;
  const { numExperts, topK, intermediateSize, sharedExpertSize, router } = model.experts;
  const chosen = router === "top-p" ? `at most ${topK}` : topK;
  const shared = sharedExpertSize > 0 ? ` and a shared one of ${sharedExpertSize}` : "";
  const feedForward =
    numExperts > 1
      ? `${numExperts} experts of ${intermediateSize}${shared}, ${chosen} a token (${router})`
      : `dense, ${model.feedForwardSize}`;
  return [
    `Parameters     ${count(total)}, of which ${count(trainable)} learn and ${count(active)} work on a token`,
    `  embeddings   ${count(byPart.embedding).padEnd(7)} ${model.vocabSize} tokens of ${model.embeddingSize}`,
    `  attention    ${count(byPart.attention).padEnd(7)} ${model.numLayers} layers of ${model.hiddenSize}, ${model.numHeads} heads`,
    `  feed-forward ${count(byPart.feedForward).padEnd(7)} ${feedForward}`,
    ...(byPart.router > 0 ? [`  router       ${count(byPart.router)}`] : []),
    `  other        ${count(byPart.other)}`,
  ];
}

const partNames: Record<FlopPart, string> = {
  decoding: "decoding noisy codes",
  input: "input",
  time: "time",
  projections: "projections",
  attention: "attention",
  router: "router",
  feedForward: "feed-forward",
  output: "output",
  vocabulary: "vocabulary",
};

function describeStep({ training }: RunConfig, { flops, flopsPerToken, memory }: ModelCost): string[] {
  const { batchSize, sequenceLength, gradientAccumulation: times } = training;
  const accumulated = times > 1 ? `, ${times} of them a step` : "";
  const parts = Object.entries(flops.byPart)
    .filter(([, value]) => value >= 0.001 * flops.forward)
    .sort(([, a], [, b]) => b - a)
    .map(([part, value]) => `${partNames[part as FlopPart]} ${percent(value / flops.forward)}`);
  return [
    `A batch        ${batchSize} x ${sequenceLength} tokens${accumulated}`,
    `  arithmetic   ${unit(flops.training, "FLOP")} to train (forward ${unit(flops.forward, "FLOP")}), ${unit(flopsPerToken.training, "FLOP")} a token`,
    `  of forward   ${parts.slice(0, 4).join(", ")},`,
    `               ${parts.slice(4).join(", ")}`,
    `Memory         about ${bytes(memory.optimizer + memory.activations)} of tensors to train; the process takes more`,
    `  parameters   ${bytes(memory.optimizer)} with gradients, moments and averages; ${bytes(memory.values)} to generate`,
    `  activations  ${bytes(memory.activations)} (estimate)`,
    `  checkpoint   ${bytes(memory.checkpoint)} on the disk`,
  ];
}

/** Lines of an attention picture; a cell is two characters wide. */
const PICTURE_SIZE = 24;

function describeAttention({ model, training }: RunConfig): string[] {
  const { sequenceLength: length } = training;
  const slots = globalSlotsOf(model);
  const layers = Array.from({ length: model.numLayers }, (_, layer) =>
    headGroups(layerPattern(model.attention, layer, model.numHeads)),
  );
  const { globalTokens, textGlobals, maxTextGlobals } = model.attention;
  const text = textGlobals === "none" ? "" : `, up to ${maxTextGlobals} of the text (${textGlobals})`;
  const lines = [`Attention      ${globalTokens} learned global tokens a document${text}`];
  const pictures: string[] = [];
  const same = (a: readonly HeadGroup[], b: readonly HeadGroup[]) => JSON.stringify(a) === JSON.stringify(b);
  for (const layerRun of runs(layers, same))
    for (const { pattern, start, count: heads } of layers[layerRun[0]]) {
      const which = heads === model.numHeads ? "" : `, ${range("head", [start, start + heads - 1])}`;
      const name = range("layer", layerRun) + which;
      const share = computedPairs(pattern, length, slots) / length ** 2;
      const window = `${pattern.window} positions ${pattern.causal ? "before itself" : "to each side"}`;
      const step = pattern.dilation > 1 ? `, every ${pattern.dilation}th` : "";
      const whole = pattern.causal ? "the document up to itself" : "the whole document";
      const what = pattern.full ? whole : `${window}${step}`;
      lines.push(
        `  ${name}: ${what}; computes ${percent(share)} of all pairs${share < 1 ? " (in blocks)" : ""}`,
      );
      pictures.push(
        "",
        `${name}, one document of ${length} positions (rows look at columns):`,
        ...attentionPicture(pattern, documentOf(length, globalTokens), PICTURE_SIZE),
      );
    }
  return [...lines, ...pictures];
}

/** One document of `length` positions, the first `globals` of them global. */
const documentOf = (length: number, globals: number): RowLayout => ({
  segment: new Uint8Array(length),
  isGlobal: Uint8Array.from({ length }, (_, i) => Number(i < globals)),
});

/** Positions of a cell that are looked at: all of a small one, evenly spread ones of a large one. */
const SAMPLES = 32;

/** What a head sees, as `size` lines: # everything, + much, - little, . nothing of the positions that a character stands for. */
export function attentionPicture(head: HeadGroup["pattern"], row: RowLayout, size: number): string[] {
  const length = row.segment.length;
  const cells = Math.min(size, length);
  const positions = Array.from({ length: cells }, (_, cell) => {
    const start = Math.floor((cell * length) / cells);
    const end = Math.floor(((cell + 1) * length) / cells);
    const taken = Math.min(SAMPLES, end - start);
    return Array.from({ length: taken }, (__, k) => start + Math.floor((k * (end - start)) / taken));
  });
  return positions.map((queries) =>
    positions
      .map((keys) => {
        let seen = 0;
        for (const i of queries) for (const j of keys) seen += Number(sees(head, row, i, j));
        const share = seen / (queries.length * keys.length);
        return `${share === 0 ? "." : share < 0.4 ? "-" : share < 1 ? "+" : "#"}`.repeat(2);
      })
      .join(""),
  );
}

const percent = (share: number): string => {
  const value = 100 * share;
  return `${value >= 9.95 || value === 0 ? value.toFixed(0) : value.toFixed(1)} %`;
};
