/**
 * @file A text in blocks: written one after the other, by diffusion inside a block (block diffusion, arXiv 2503.09573; here without
 * training for it). Block k of n tokens is the continuation on a short canvas that the text slides through:
 *
 *     [learned globals] [CLS src SEP SEP]   [last C tokens of the text]   [n tokens to write]
 *      head, as the request has it           given                         targets
 *
 * What a position further left could tell: a layer sees w * dilation positions to each side, so L layers reach
 *
 *     R = sum_l max_heads (w_l * dilation_l) + (input taps - 1) / 2
 *
 * positions (causal: the taps, all to the left, reach input taps - 1, and a next-token model's input is one token further back), beyond which only global tokens tell anything. C = min(R, trained length - head - n) loses no more than that, and neither
 * time per token nor memory grows with the text.
 *
 * Positions are those on the canvas, from 0, not those in the text. A canvas is then what training makes of a piece cut out of a long
 * document: globals and source at their usual distance, no position beyond the trained ones, which sinusoids and the tables of rotary
 * positions (as long as the row) could not say, and one compiled program for all blocks.
 */
import type { GenerationConfig, RunConfig } from "../config/index.js";
import { UserError } from "../errors.js";
import { layerPattern } from "../model/attention/pattern.js";
import { type Canvas, type CanvasPart, countTargets } from "./canvas.js";

/** What blocks depend on: the model, the length it was trained at, and what the user asks for. */
export interface BlockConfig {
  readonly model: Pick<RunConfig["model"], "attention" | "numLayers" | "numHeads" | "inputConvolution">;
  readonly diffusion: Pick<RunConfig["diffusion"], "objective">;
  readonly training: Pick<RunConfig["training"], "sequenceLength">;
  readonly data: Pick<RunConfig["data"], "padTargets">;
  readonly generation: Pick<GenerationConfig, "blockLength" | "contextLength" | "untilEnd">;
}

/** The canvas of a request, cut into blocks. */
export class CanvasBlocks {
  /** Number of blocks, if the text does not end before. */
  readonly count: number;
  /** Positions of the longest canvas of a block. */
  readonly longest: number;
  /** Tokens a block writes, at most. */
  readonly block: number;
  private readonly context: number;

  /**
   * @param whole the request's canvas, of any length
   * @throws UserError for several blocks whose canvas would be longer than the model was trained on, and for gaps of more than one block that have given text behind them
   */
  constructor(
    readonly whole: Canvas,
    private readonly config: BlockConfig,
  ) {
    const { blockLength, contextLength } = config.generation;
    const open = countTargets(whole);
    const { gap } = this;
    this.count = blockLength === 0 ? 1 : Math.ceil(open / blockLength);
    if (this.count > 1 && !gap)
      throw new UserError(
        `generation.blockLength: expected at least ${open}, the tokens of all gaps, where given text or another gap follows a gap, got ` +
          `${blockLength}; blocks are written from left to right and know nothing of what follows: raise --block-length, or leave it out`,
      );
    this.block = this.count === 1 ? open : blockLength;
    const uncut = blockLength === 0 || !gap;
    const asked = uncut ? null : contextLength;
    this.context = this.count === 1 ? (asked ?? Number.POSITIVE_INFINITY) : contextOf(whole, config);
    this.longest = 0;
    for (let block = 0; block < this.count; block++) {
      // Growing until the context is full, so the second last block or the last is the longest.
      if (block > 0 && block < this.count - 2) continue;
      const { from, end } = this.range(block);
      this.longest = Math.max(this.longest, this.head + end - from);
    }
  }

  /** Whether a single gap goes to the text's end: what can be written in several blocks. */
  get openEnd(): boolean {
    return this.gap !== null;
  }

  /** That gap. */
  private get gap(): CanvasPart | null {
    const { parts } = this.whole;
    const last = parts[parts.length - 1];
    return last.kind === "gap" && parts.slice(0, -1).every(({ kind }) => kind === "given") ? last : null;
  }

  /** Positions in front of the text. */
  private get head(): number {
    return this.whole.parts[0].start;
  }

  /** Positions of the whole canvas that block number `block`, from 0, writes (start .. end - 1) and sees (from .. end - 1). */
  range(block: number): { readonly from: number; readonly start: number; readonly end: number } {
    const { whole, head, gap } = this;
    if (!gap) return { from: head, start: head, end: whole.target.length };
    const start = gap.start + block * this.block;
    return {
      from: Math.max(head, start - this.context),
      start,
      end: Math.min(gap.end, start + this.block),
    };
  }

  /**
   * The canvas of a block.
   * @param ids int32 [n] of the whole canvas: what stands in front of the block is written, the rest [PAD]
   */
  canvas(block: number, ids: Int32Array): Canvas {
    const { whole, head, config } = this;
    const { from, start, end } = this.range(block);
    if (this.count === 1 && from === head) return whole;
    const size = head + end - from;
    const first = size - (end - start);
    const own = new Int32Array(size);
    own.set(ids.subarray(0, head));
    own.set(ids.subarray(from, end), head);
    const target = new Uint8Array(size).fill(1, first);
    const given = whole.parts[0];
    const prompt: CanvasPart[] =
      block === 0 && given.kind === "given" ? [{ ...given, start: head, end: first }] : [];
    const told = prompt.length > 0 ? from : start;
    return {
      row: {
        ids: own,
        given: target.map((flag) => 1 - flag),
        segment: new Int32Array(size),
        position: Int32Array.from(target.keys()),
        globals: whole.row.globals,
      },
      target,
      parts: [...prompt, { kind: "gap", start: first, end: size }],
      before: ids.subarray(head, told),
      endFrom: config.generation.untilEnd || block === this.count - 1 ? first : size,
    };
  }
}

/** Positions to the left that windowed attention reaches through all layers, and the input in front of them; infinite with full attention. */
export function attentionReach({ model, diffusion }: Pick<BlockConfig, "model" | "diffusion">): number {
  const { attention, numLayers, numHeads, inputConvolution } = model;
  const taps = inputConvolution - 1;
  let reach = attention.causal ? taps + Number(diffusion.objective === "next-token") : taps / 2;
  for (let layer = 0; layer < numLayers; layer++) {
    const { heads } = layerPattern(attention, layer, numHeads);
    reach += Math.max(
      ...heads.map(({ full, window, dilation }) => (full ? Number.POSITIVE_INFINITY : window * dilation)),
    );
  }
  return reach;
}

/** C of a text of several blocks. */
function contextOf({ parts }: Canvas, config: BlockConfig): number {
  const { model, training, data, generation } = config;
  const { blockLength, contextLength } = generation;
  const { globalTokens } = model.attention;
  const longest = data.padTargets === null ? training.sequenceLength : data.padTargets + globalTokens;
  const trained = Math.min(training.sequenceLength, longest);
  const head = parts[0].start;
  const room = trained - head - blockLength;
  const least = contextLength ?? 1;
  const why = `the model was trained on ${trained} positions, of which globals and source take ${head}`;
  const most = trained - head - Math.min(1, least);
  if (most < 1)
    throw new UserError(
      `generation.blockLength: expected room for blocks, but ${why}: shorten the source, or write the text without blocks (0)`,
    );
  if (blockLength > most)
    throw new UserError(
      `generation.blockLength: expected at most ${most} in a text of several blocks, got ${blockLength}; ${why}, ` +
        "and a block needs text before it: lower --block-length or shorten the source",
    );
  if (room < least)
    throw new UserError(
      `generation.contextLength: expected at most ${room} with generation.blockLength ${blockLength}, got ${contextLength}; ${why}: ` +
        "lower --context-length or --block-length",
    );
  return contextLength ?? Math.min(room, attentionReach(config));
}
