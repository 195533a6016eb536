/**
 * @file The pieces of a corpus by number, without holding them: one pass over the lengths of the documents counts them and remembers
 * where every 512th begins, so that any block of pieces can be made again. 12 bytes of memory for 512 pieces.
 */
import { UserError } from "../errors.js";
import type { Corpus } from "./corpus.js";
import { type PieceOptions, type Pieces, textGlobalOffsets } from "./packing.js";

/** Pieces of a block. */
export const BLOCK_PIECES = 512;

/** `length` and `globals` of the piece that begins at token `start` of a document. */
type Visit = (document: number, start: number, length: number, globals: number) => void;

export class PieceIndex {
  /** Pieces in all. */
  readonly count: number;
  /** Most global tokens that one piece brings. */
  readonly mostGlobals: number;
  /** Where each block begins: document, and token in it. */
  private readonly firstDocument: number[] = [];
  private readonly firstStart: number[] = [];

  /** @throws UserError for a conditional document that does not fit in one row: cutting it would part target and source. */
  constructor(
    private readonly corpus: Corpus,
    private readonly options: PieceOptions,
  ) {
    if (this.capacity < 1)
      throw new UserError(
        `expected a sequence length above the ${options.globalTokens} learned global tokens, got ${options.length}; ` +
          "raise training.sequenceLength or lower model.attention.globalTokens",
      );
    let [count, mostGlobals] = [0, 0];
    this.walk(0, 0, Number.POSITIVE_INFINITY, (document, start, _length, globals) => {
      if (count++ % BLOCK_PIECES === 0) {
        this.firstDocument.push(document);
        this.firstStart.push(start);
      }
      if (globals > mostGlobals) mostGlobals = globals;
    });
    this.count = count;
    this.mostGlobals = mostGlobals;
  }

  /** Blocks in all; the last one may be short. */
  get blocks(): number {
    return this.firstDocument.length;
  }

  /** The pieces of some blocks, one block after the other. */
  of(blocks: ArrayLike<number>): Pieces {
    let count = 0;
    for (let i = 0; i < blocks.length; i++) count += this.blockLength(blocks[i]);
    const array = () => new Int32Array(count);
    const pieces = { document: array(), start: array(), length: array(), globals: array() };
    let at = 0;
    for (let i = 0; i < blocks.length; i++) {
      const block = blocks[i];
      const visit: Visit = (document, start, length, globals) => {
        pieces.document[at] = document;
        pieces.start[at] = start;
        pieces.length[at] = length;
        pieces.globals[at++] = globals;
      };
      this.walk(this.firstDocument[block], this.firstStart[block], this.blockLength(block), visit);
    }
    return pieces;
  }

  private blockLength(block: number): number {
    return Math.min(BLOCK_PIECES, this.count - block * BLOCK_PIECES);
  }

  private get capacity(): number {
    return this.options.length - this.options.globalTokens;
  }

  /** Visits at most `count` pieces from token `start` of `document` on. */
  private walk(document: number, start: number, count: number, visit: Visit): void {
    const { corpus, capacity, options } = this;
    let left = count;
    for (let id = document, from = start; left > 0 && id < corpus.size; id++, from = 0) {
      const total = corpus.length(id);
      const mayBring = options.textGlobals !== "none";
      const conditional = (total > capacity || mayBring) && corpus.conditional(id);
      if (total > capacity && conditional)
        throw new UserError(
          `expected every source with its target to fit in one sequence (${capacity} tokens beside ${options.globalTokens} globals), ` +
            `got document ${id + 1} with ${total} tokens; raise training.sequenceLength or shorten the pairs (maxLength)`,
        );
      for (let at = from; at < total && left > 0; at += capacity, left--) {
        const end = Math.min(total, at + capacity);
        const text =
          mayBring && conditional
            ? textGlobalOffsets(corpus.ids(id, at, end), corpus.given(id, at, end), options).length
            : 0;
        visit(id, at, end - at, options.globalTokens + text);
      }
    }
  }
}
