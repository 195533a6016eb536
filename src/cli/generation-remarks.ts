/** @file What a model is asked for that it was not trained for, and what came of it, said beside the text: it can be written, but not well. */
import { join } from "node:path";
import type { RunConfig } from "../config/index.js";
import { CanvasBlocks } from "../sampling/blocks.js";
import { buildCanvas, type CanvasTokenizer } from "../sampling/canvas.js";
import type { Generation, GenerationRequest } from "../sampling/index.js";
import { trainedOnPairs } from "../training/data-record.js";

/**
 * What to expect of a request, before anything is written.
 * @param folder the model's
 * @param config its configuration, with the settings of this call
 */
export async function remarksOnRequest(
  folder: string,
  request: GenerationRequest,
  config: RunConfig,
  { tokenizer }: { readonly tokenizer: CanvasTokenizer },
): Promise<string[]> {
  const { generation, training } = config;
  const remarks: string[] = [];
  if (request.src !== undefined && (await trainedOnPairs(join(folder, "data.json"))) === false)
    remarks.push(
      "This model was trained on texts without sources: it has not learned what to do with --src. --prompt is for a beginning.",
    );
  const canvas = buildCanvas(request, config, tokenizer, generation.length);
  const { longest, openEnd } = new CanvasBlocks(canvas, config);
  if (longest > training.sequenceLength) {
    const blocks = generation.blockLength > 0;
    const advice = blocks
      ? ", or give --context-length so that it sees less of the text before it"
      : ", or give --block-length to write it in blocks";
    remarks.push(
      `This is a row of ${longest} positions, and the model was trained on ${training.sequenceLength} at most: ` +
        `expect it to be worse than a shorter text${openEnd ? advice : ""}.`,
    );
  }
  const { parts } = canvas;
  if (
    parts.some((part, i) => part.kind === "given" && part.text.endsWith(" ") && parts[i + 1]?.kind === "gap")
  )
    remarks.push(
      "Given text ends with a space where a gap begins. Words are written with the space before them: leave yours out, or there may be two.",
    );
  return remarks;
}

/** What is to be said of texts that are there. */
export function remarksOnTexts(texts: readonly Generation[]): string[] {
  const empty = texts.filter(({ gaps }) => gaps.every((gap) => gap === "")).length;
  if (empty === 0) return [];
  const which = texts.length === 1 ? "The text" : `${empty} of ${texts.length} texts`;
  return [`${which} ended before the first word: nothing was written.`];
}
