/**
 * @file Rows: the packed sequences of N tokens that training and validation see. Row number n is a pure function of the corpus,
 * the options and n, so a run that resumes needs to remember one integer, and ranks that share a step need not talk about it.
 *
 * An epoch is planned section by section, each of at most 131,072 pieces, so that memory does not grow with the corpus. A corpus that
 * fits in one section is shuffled as a whole. In a larger one a section gathers 256 blocks of 512 neighbouring pieces from all over
 * the corpus (the blocks in random order) and is shuffled within.
 */
import { UserError } from "../errors.js";
import { Stream } from "../random/stream.js";
import { type Corpus, isCorpus, TokenCorpus, type TokenDocument } from "./corpus.js";
import { type GapOptions, withGaps } from "./gaps.js";
import {
  mostNear,
  type PieceOptions,
  type Pieces,
  type PlanOptions,
  planRows,
  type RowPlan,
  type TextGlobals,
  textGlobalOffsets,
} from "./packing.js";
import { PieceIndex } from "./piece-index.js";
import type { Tokenizer } from "./tokenizer.js";

/** One packed training sequence of length N. */
export interface Row {
  /** Global running number: the identity used by random numbers. */
  readonly sequence: number;
  /** Token ids; learned global tokens are vocabSize + k, padding is [PAD]. [N] */
  readonly ids: Int32Array;
  /** 1: given (never noised, no loss): conditions, text around gaps, learned globals, padding. [N] */
  readonly given: Uint8Array;
  /** Number of the document piece inside the row, -1 on padding. [N] */
  readonly segment: Int32Array;
  /** Position inside the piece, learned globals first; 0 on padding. [N] */
  readonly position: Int32Array;
  /** Positions of the global tokens, learned and text, ascending. [at most maxGlobals] */
  readonly globals: Int32Array;
}

/** How many times fewer global tokens must stand near a block than in its row for blocks to have lists of their own. */
const NEAR_SHARE = 4;

/** What shuffling needs of a `CounterRandom`. */
export interface Shuffler {
  /** A random order of 0..n-1 that depends on (seed, stream, sequence, step) alone; step: default 0. */
  permutation(n: number, stream: number, sequence: number, step?: number): Uint32Array;
}

export interface RowOptions {
  /** Row length N, learned global tokens included. */
  readonly length: number;
  readonly tokenizer: Pick<Tokenizer, "vocabSize" | "special">;
  /** Learned global tokens g in front of every document piece (default 0). */
  readonly globalTokens?: number;
  /** Given text positions that are global too: none (default), given [CLS] and [SEP], or the whole source. */
  readonly textGlobals?: TextGlobals;
  /** Most text globals of one document piece, the first ones (default 0). */
  readonly maxTextGlobals?: number;
  /** Hard bound on the globals of a row; a document that would pass it goes to another row. Default: see `suggestMaxGlobals`. */
  readonly maxGlobals?: number | null;
  /**
   * Positions of a block of queries. Where rows hold many documents, global tokens are then bounded within any so many positions too
   * (`RowSource.nearGlobals`). 0 (default): they are not. Documents with gaps may be shorter than planned, so with them they are not either.
   */
  readonly nearSpan?: number;
  /** That bound. Default: see `suggestNearGlobals`. */
  readonly nearGlobals?: number | null;
  /** Several documents a row (default true), or one. */
  readonly packing?: boolean;
  /** A new order each epoch, drawn from stream `Shuffle` with the epoch as sequence; null (default): corpus order every time. */
  readonly shuffle?: Shuffler | null;
  /** Parts of the targets that are given instead; null (default): none. See `gaps.ts`. */
  readonly gaps?: GapOptions | null;
  /** Pieces looked at when a row is filled (default 64). */
  readonly lookAhead?: number;
  /** Blocks of 512 pieces in a section (default 256). */
  readonly sectionBlocks?: number;
}

/** The pieces of one section of an epoch, and the rows they fill. */
interface Section {
  readonly pieces: Pieces;
  readonly plan: RowPlan;
}

/** Random access to an endless run of rows, epoch after epoch. */
export class RowSource {
  /** Most global tokens of a row. */
  readonly maxGlobals: number;
  /** Most global tokens of the documents that any `nearSpan` positions have a part in; `maxGlobals` where that is not much less. */
  readonly nearGlobals: number;
  private readonly index: PieceIndex;
  private readonly pieceOptions: PieceOptions;
  /** Sections of an epoch. */
  private readonly sections: number;
  /** Number of the first row of each section known so far, counted over all epochs. */
  private readonly sectionStarts: number[] = [0];
  private cached: { key: string; section: Section } | null = null;
  private blockOrder: { epoch: number; order: Uint32Array } | null = null;
  /** The pieces of a corpus of one section: the same in every epoch. */
  private allPieces: Pieces | null = null;

  constructor(
    private readonly corpus: Corpus,
    private readonly options: RowOptions,
  ) {
    const { length, globalTokens = 0, textGlobals = "none", maxTextGlobals = 0, tokenizer } = options;
    if (corpus.tokens === 0) throw new UserError("expected documents to make sequences of, got none");
    this.pieceOptions = {
      length,
      globalTokens,
      textGlobals,
      maxTextGlobals,
      separators: new Set([tokenizer.special.cls, tokenizer.special.sep]),
    };
    this.index = new PieceIndex(corpus, this.pieceOptions);
    this.sections = Math.ceil(this.index.blocks / this.sectionBlocks);
    this.maxGlobals = options.maxGlobals ?? this.suggestMaxGlobals();
    this.nearGlobals = this.gapped ? this.maxGlobals : (options.nearGlobals ?? this.suggestNearGlobals());
    const most = this.index.mostGlobals;
    if (most > this.maxGlobals)
      throw new UserError(
        `expected at most ${this.maxGlobals} global tokens a sequence (maxGlobals), got a document with ${most}; ` +
          "raise maxGlobals or lower attention.globalTokens or attention.maxTextGlobals",
      );
    if (most > this.nearGlobals)
      throw new UserError(
        `expected at most ${this.nearGlobals} global tokens near one another (nearGlobals), got a document with ${most}; raise nearGlobals`,
      );
  }

  private get gapped(): boolean {
    return (this.options.gaps?.rate ?? 0) > 0;
  }

  /** Rows of one epoch; differs a little from epoch to epoch when shuffled. The first call plans the epoch (a pass over its pieces). */
  rowsInEpoch(epoch = 0): number {
    return this.sectionStart((epoch + 1) * this.sections) - this.sectionStart(epoch * this.sections);
  }

  /** Row number `index`, counted over all epochs from 0. */
  row(index: number): Row {
    const { pieces, chosen } = this.piecesOfRow(index);
    return this.build(index, pieces, chosen);
  }

  /** Of which document of the corpus each segment of row number `index` is: its pieces may stand in many rows. [segments] */
  documentsOf(index: number): Int32Array {
    const { pieces, chosen } = this.piecesOfRow(index);
    return chosen.map((piece) => pieces.document[piece]);
  }

  private piecesOfRow(index: number): { pieces: Pieces; chosen: Int32Array } {
    const number = this.sectionOf(index);
    const { pieces, plan } = this.section(number);
    const row = index - this.sectionStarts[number];
    return { pieces, chosen: plan.pieces.subarray(plan.rowStarts[row], plan.rowStarts[row + 1]) };
  }

  /** What a graph over these rows must have room for (`BatchShape`). */
  get slots(): { readonly globalSlots: number; readonly nearSlots: number } {
    return { globalSlots: this.maxGlobals, nearSlots: this.nearGlobals };
  }

  /** The smallest bound of a row that leaves 99 of 100 rows of the first section as they would be without, and admits any document. */
  private suggestMaxGlobals(): number {
    const { pieces, rows } = this.firstSection(Number.POSITIVE_INFINITY, null);
    return this.usual(rows, (row) => row.reduce((sum, piece) => sum + pieces.globals[piece], 0));
  }

  /**
   * The bound of `nearSpan` positions: the smallest that leaves 99 of 100 rows as they would be without, or, where short documents would
   * then fill rows of their own, twice as much and so on until the first section has at most one row in a hundred more. One of more than
   * a quarter of a row's is not worth having.
   */
  private suggestNearGlobals(): number {
    const { nearSpan = 0, globalTokens = 0 } = this.options;
    if (nearSpan === 0) return this.maxGlobals;
    // No bound is below what one document may have.
    if (NEAR_SHARE * Math.max(1, this.mostOfDocument) > this.maxGlobals) return this.maxGlobals;
    const { pieces, rows } = this.firstSection(this.maxGlobals, null);
    let most = this.usual(rows, (row) => mostNear(pieces, row, globalTokens, nearSpan));
    while (NEAR_SHARE * most <= this.maxGlobals) {
      const bounded = this.firstSection(this.maxGlobals, { span: nearSpan, most }).rows.length;
      if (bounded <= Math.ceil(1.01 * rows.length)) return most;
      most *= 2;
    }
    return this.maxGlobals;
  }

  /** What 99 of 100 rows have at most, and any one document may have. */
  private usual(rows: readonly Int32Array[], of: (row: Int32Array) => number): number {
    const sorted = rows.map(of).sort((a, b) => a - b);
    return Math.max(sorted[Math.floor(0.99 * (sorted.length - 1))], this.mostOfDocument);
  }

  /** Global tokens that one document may have. */
  private get mostOfDocument(): number {
    const { globalTokens, textGlobals, maxTextGlobals } = this.pieceOptions;
    return globalTokens + (textGlobals === "none" ? 0 : maxTextGlobals);
  }

  private firstSection(
    maxGlobals: number,
    near: PlanOptions["near"],
  ): { pieces: Pieces; rows: Int32Array[] } {
    const { pieces, plan } = this.makeSection(0, maxGlobals, near);
    const rows = Array.from({ length: plan.rows }, (_, row) =>
      plan.pieces.subarray(plan.rowStarts[row], plan.rowStarts[row + 1]),
    );
    return { pieces, rows };
  }

  private get sectionBlocks(): number {
    return this.options.sectionBlocks ?? 256;
  }

  /** Number of the section, counted over all epochs, that has row number `index`. */
  private sectionOf(index: number): number {
    if (!Number.isSafeInteger(index) || index < 0)
      throw new RangeError(`expected a row number >= 0, got ${index}`);
    const starts = this.sectionStarts;
    while (starts[starts.length - 1] <= index) this.sectionStart(starts.length);
    let low = 0;
    let high = starts.length - 1;
    while (low + 1 < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle] <= index) low = middle;
      else high = middle;
    }
    return low;
  }

  /** Number of the first row of a section; those before it are planned, one after the other, when they are not known yet. */
  private sectionStart(number: number): number {
    const starts = this.sectionStarts;
    while (starts.length <= number)
      starts.push(starts[starts.length - 1] + this.section(starts.length - 1).plan.rows);
    return starts[number];
  }

  private section(number: number): Section {
    const epoch = this.options.shuffle ? Math.floor(number / this.sections) : 0;
    const key = `${epoch}/${number % this.sections}`;
    if (this.cached?.key !== key)
      this.cached = {
        key,
        section: this.makeSection(
          epoch * this.sections + (number % this.sections),
          this.maxGlobals,
          this.nearGlobals < this.maxGlobals
            ? { span: this.options.nearSpan ?? 0, most: this.nearGlobals }
            : null,
        ),
      };
    return this.cached.section;
  }

  private makeSection(number: number, maxGlobals: number, near: PlanOptions["near"]): Section {
    const [epoch, section] = [Math.floor(number / this.sections), number % this.sections];
    const { shuffle, packing = true, lookAhead = 64, length, globalTokens = 0 } = this.options;
    const pieces = this.piecesOf(epoch, section);
    const count = pieces.length.length;
    const order = shuffle
      ? shuffle.permutation(count, Stream.Shuffle, epoch, section)
      : Uint32Array.from({ length: count }, (_, i) => i);
    return {
      pieces,
      plan: planRows(pieces, order, { length, globalTokens, maxGlobals, near, lookAhead, packing }),
    };
  }

  private piecesOf(epoch: number, section: number): Pieces {
    if (this.allPieces) return this.allPieces;
    const { shuffle } = this.options;
    const { blocks } = this.index;
    const mixed = shuffle && this.sections > 1;
    if (this.blockOrder?.epoch !== epoch)
      this.blockOrder = {
        epoch,
        order: mixed
          ? shuffle.permutation(blocks, Stream.ShuffleBlocks, epoch)
          : Uint32Array.from({ length: blocks }, (_, i) => i),
      };
    const first = section * this.sectionBlocks;
    // In corpus order, so that the corpus is read forwards.
    const pieces = this.index.of(this.blockOrder.order.slice(first, first + this.sectionBlocks).sort());
    if (this.sections === 1) this.allPieces = pieces;
    return pieces;
  }

  private build(sequence: number, pieces: Pieces, chosen: Int32Array): Row {
    const { length, globalTokens } = this.pieceOptions;
    const { gaps, tokenizer } = this.options;
    const { vocabSize, special } = tokenizer;
    const ids = new Int32Array(length).fill(special.pad);
    const given = new Uint8Array(length).fill(1);
    const segment = new Int32Array(length).fill(-1);
    const position = new Int32Array(length);
    const globals: number[] = [];
    let at = 0;
    chosen.forEach((piece, number) => {
      const document = pieces.document[piece];
      const start = pieces.start[piece];
      const end = start + pieces.length[piece];
      const text = this.corpus.ids(document, start, end);
      const flags = this.corpus.given(document, start, end);
      const shown = gaps
        ? withGaps(text, flags, special.pad, gaps, sequence, number)
        : { given: flags, length: text.length };
      const first = at + globalTokens;
      const last = first + shown.length;
      for (let k = 0; k < globalTokens; k++) {
        ids[at + k] = vocabSize + k;
        globals.push(at + k);
      }
      ids.set(text.subarray(0, shown.length), first);
      given.set(shown.given.subarray(0, shown.length), first);
      for (const offset of textGlobalOffsets(text, flags, this.pieceOptions)) globals.push(first + offset);
      segment.fill(number, at, last);
      for (let i = at; i < last; i++) position[i] = i - at;
      at = last;
    });
    return { sequence, ids, given, segment, position, globals: Int32Array.from(globals) };
  }
}

/**
 * Packs documents into rows.
 * @throws UserError for an empty corpus, a length that leaves no room for text, a conditional document longer than a row, and a
 * document with more globals than `maxGlobals`.
 */
export const packRows = (documents: Corpus | Iterable<TokenDocument>, options: RowOptions): RowSource =>
  new RowSource(
    isCorpus(documents) ? documents : TokenCorpus.from(documents, options.tokenizer.vocabSize),
    options,
  );
