/**
 * @file The loop over blocks: every text of a batch writes its block, the canvas slides on, until the last text is done. Texts differ in
 * their number of blocks and may end before; those that are done leave the batch, whose shape stays, so one program serves all blocks.
 *
 * Random numbers of step s of block k are those of step k (S + 1) + s, S steps a block: 0 is the start of a block, and the first block,
 * or a text of one block, has the numbers it has without blocks. Of a block nothing is kept but its tokens.
 */
import type { StreamDecoder, Tokenizer } from "../data/tokenizer.js";
import type { SamplePlan } from "./batch-inputs.js";
import type { CanvasBlocks } from "./blocks.js";
import type { Canvas } from "./canvas.js";
import { type CanvasText, readCanvas, showCanvas } from "./canvas-text.js";
import type { DiffusionModel } from "./model.js";
import { type BatchShape, SampleBatch } from "./sample-batch.js";
import type { SampleSetting, SampleState } from "./sample-state.js";

/** One text on its way through its blocks. */
export class BlockText {
  /** Whether its last block is written. */
  done = false;
  /** Blocks written, and steps they took. */
  blocks = 0;
  steps = 0;
  /** The text in front of the block that is being written, kept up where somebody looks. */
  private before = "";
  /** What the last block has brought, until the next one begins. */
  private piece: string | null = null;
  /** First position of the canvas that is told of: 0, and in later blocks that of the block. */
  private from = 0;
  private readonly decoder: StreamDecoder;
  /** int32 [n]: the whole canvas, written as far as blocks are done. */
  readonly ids: Int32Array;
  private canvas: Canvas;

  /** @param sequence number of the sample */
  constructor(
    private readonly plan: CanvasBlocks,
    readonly sequence: number,
    private readonly tokenizer: Tokenizer,
  ) {
    this.ids = plan.whole.row.ids.slice();
    this.canvas = plan.canvas(0, this.ids);
    this.decoder = tokenizer.streamDecoder();
  }

  /** Blocks there are, if the text does not end before. */
  get count(): number {
    return this.plan.count;
  }

  /** The next block to write. */
  nextBlock(): SamplePlan {
    if (this.blocks > 0) {
      this.canvas = this.plan.canvas(this.blocks, this.ids);
      this.from = this.canvas.parts[0].start;
    }
    this.before += this.piece ?? "";
    this.piece = null;
    return { canvas: this.canvas, sequence: this.sequence };
  }

  /** Takes over what a finished block says. @param look whether somebody will look at the text before it is done */
  take({ guess, steps }: SampleState, look: boolean): void {
    const { canvas, plan, ids, tokenizer } = this;
    const whole = canvas === plan.whole;
    const { start, end } = plan.range(this.blocks);
    const first = whole ? start : guess.length - (end - start);
    const separator = guess.indexOf(tokenizer.special.sep, canvas.endFrom);
    ids.set(guess.subarray(first), start);
    this.blocks++;
    this.steps += steps;
    this.done = separator >= 0 || this.blocks === plan.count;
    if (!look || whole) return;
    const [given] = canvas.parts;
    const written = guess.subarray(first, separator < 0 ? guess.length : separator);
    this.piece = (given.kind === "given" ? given.text : "") + this.decoder.push(written);
    if (this.done) this.piece += this.decoder.end();
  }

  /** The block as it stands: what is told of it after a step. */
  show({ guess, settled, confidence }: SampleState) {
    const { canvas, tokenizer, before, piece, from } = this;
    return {
      sample: this.sequence,
      before,
      ids: guess.slice(from),
      settled: settled.slice(from),
      confidence,
      text: piece ?? showCanvas(canvas, guess, settled, tokenizer),
    };
  }

  /** The finished text, decoded as a whole: a character that stands across two blocks is one. */
  read(): CanvasText {
    return readCanvas(this.plan.whole, this.ids, this.tokenizer);
  }
}

/** A step of a block. */
export interface BlockStep {
  /** From 1. */
  readonly block: number;
  /** Of the longest text, if it does not end before. */
  readonly blocks: number;
  /** From 1 in every block. */
  readonly step: number;
  readonly batch: SampleBatch;
  /** The texts that have this block, in the order of `batch.samples`. */
  readonly writing: readonly BlockText[];
  readonly milliseconds: number;
  /** Whether all texts are done. */
  readonly finished: boolean;
}

/**
 * Writes the texts of a batch.
 * @param texts at most `shape.batchSize`, no canvas of a block longer than `shape.length`
 * @param look whether anybody will look at the texts before they are done
 */
export async function* writeBlocks(
  model: DiffusionModel,
  setting: SampleSetting,
  texts: readonly BlockText[],
  shape: BatchShape,
  look: boolean,
  signal?: AbortSignal,
): AsyncGenerator<BlockStep, void, undefined> {
  const blocks = Math.max(...texts.map(({ count }) => count));
  let finished = false;
  for (let block = 0; !finished; block++) {
    const writing = texts.filter(({ done }) => !done);
    const plans = writing.map((text) => text.nextBlock());
    const own = { ...setting, firstStep: block * setting.times.length };
    const batch = await SampleBatch.start(model, own, plans, shape, look);
    try {
      for (let step = 1; !batch.finished; step++) {
        signal?.throwIfAborted();
        const start = performance.now();
        await batch.advance(step);
        signal?.throwIfAborted();
        if (batch.finished) for (const [i, text] of writing.entries()) text.take(batch.samples[i], look);
        finished = texts.every(({ done }) => done);
        const milliseconds = performance.now() - start;
        yield { block: block + 1, blocks, step, batch, writing, milliseconds, finished };
      }
    } finally {
      await batch.release();
    }
  }
}
