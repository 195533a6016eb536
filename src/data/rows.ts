/**
 * @file Rows: the packed sequences of N tokens that training and validation see. Row number n is a pure function of the corpus,
 * the options and n, so a run that resumes needs to remember one integer, and rank r of R simply takes rows r, r + R, ...
 */
import { UserError } from "../errors.js";
import { Stream } from "../random/stream.js";
import { TokenCorpus, type TokenDocument } from "./corpus.js";
import {
  cutIntoPieces,
  type PieceOptions,
  type Pieces,
  planRows,
  type RowPlan,
  type TextGlobals,
  textGlobalOffsets,
} from "./packing.js";
import type { Tokenizer } from "./tokenizer.js";

/** One packed training sequence of length N. */
export interface Row {
  /** Global running number: the identity used by random numbers. */
  readonly sequence: number;
  /** Token ids; learned global tokens are vocabSize + k, padding is [PAD]. [N] */
  readonly ids: Int32Array;
  /** 1: given (never noised, no loss): conditions, learned globals, padding. [N] */
  readonly given: Uint8Array;
  /** Number of the document piece inside the row, -1 on padding. [N] */
  readonly segment: Int32Array;
  /** Position inside the piece, learned globals first; 0 on padding. [N] */
  readonly position: Int32Array;
  /** Positions of the global tokens, learned and text, ascending. [at most maxGlobals] */
  readonly globals: Int32Array;
}

/** What shuffling needs of a `CounterRandom`. */
export interface Shuffler {
  /** A random order of 0..n-1 that depends on (seed, stream, sequence) alone. */
  permutation(n: number, stream: number, sequence: number): Uint32Array;
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
  /** Several documents a row (default true), or one. */
  readonly packing?: boolean;
  /** A new order each epoch, drawn from stream `Shuffle` with the epoch as sequence; null (default): corpus order every time. */
  readonly shuffle?: Shuffler | null;
  /** Pieces looked at when a row is filled (default 64). */
  readonly lookAhead?: number;
}

/** How well rows are filled, for the first epoch. */
export interface FillReport {
  readonly rows: number;
  readonly documents: number;
  readonly pieces: number;
  /** Documents longer than a row, cut into pieces. */
  readonly cutDocuments: number;
  /** Share of positions that are not padding. */
  readonly fillRatio: number;
  /** Share of positions that are text: neither padding nor learned globals. */
  readonly textRatio: number;
  readonly maxGlobals: number;
}

/** Random access to an endless run of rows, epoch after epoch. */
export class RowSource {
  readonly maxGlobals: number;
  private readonly pieces: Pieces;
  private readonly pieceOptions: PieceOptions;
  /** Number of the first row of each epoch known so far. */
  private readonly epochStarts: number[] = [0];
  private cached: { epoch: number; plan: RowPlan } | null = null;

  constructor(
    private readonly corpus: TokenCorpus,
    private readonly options: RowOptions,
  ) {
    const { length, globalTokens = 0, textGlobals = "none", maxTextGlobals = 0, tokenizer } = options;
    if (corpus.counts.tokens === 0) throw new UserError("expected documents to make sequences of, got none");
    this.pieceOptions = {
      length,
      globalTokens,
      textGlobals,
      maxTextGlobals,
      separators: new Set([tokenizer.special.cls, tokenizer.special.sep]),
    };
    this.pieces = cutIntoPieces(corpus, this.pieceOptions);
    this.maxGlobals = options.maxGlobals ?? this.suggestMaxGlobals();
    const most = this.pieces.globals.reduce((a, b) => Math.max(a, b), 0);
    if (most > this.maxGlobals)
      throw new UserError(
        `expected at most ${this.maxGlobals} global tokens a sequence (maxGlobals), got a document with ${most}; ` +
          "raise maxGlobals or lower attention.globalTokens or attention.maxTextGlobals",
      );
  }

  /** Rows of one epoch; differs a little from epoch to epoch when shuffled. */
  rowsInEpoch(epoch = 0): number {
    return this.plan(epoch).rows;
  }

  /** Epoch and row within it of row number `index`. */
  locate(index: number): { epoch: number; row: number } {
    if (!Number.isSafeInteger(index) || index < 0)
      throw new RangeError(`expected a row number >= 0, got ${index}`);
    const starts = this.epochStarts;
    while (starts[starts.length - 1] <= index)
      starts.push(starts[starts.length - 1] + this.plan(starts.length - 1).rows);
    let epoch = starts.length - 2;
    while (starts[epoch] > index) epoch--;
    return { epoch, row: index - starts[epoch] };
  }

  /** Row number `index`, counted over all epochs from 0. */
  row(index: number): Row {
    const { epoch, row } = this.locate(index);
    const { pieces, rowStarts } = this.plan(epoch);
    return this.build(index, pieces.subarray(rowStarts[row], rowStarts[row + 1]));
  }

  /** How well rows are filled, measured on the first epoch. */
  report(): FillReport {
    const { rows } = this.plan(0);
    const { length, globalTokens } = this.pieceOptions;
    const pieces = this.pieces.length.length;
    const text = this.pieces.length.reduce((a, b) => a + b, 0);
    return {
      rows,
      documents: this.corpus.size,
      pieces,
      cutDocuments: this.pieces.cutDocuments,
      fillRatio: (text + globalTokens * pieces) / (rows * length),
      textRatio: text / (rows * length),
      maxGlobals: this.maxGlobals,
    };
  }

  /** The smallest bound that leaves 99 of 100 rows of the first epoch as they would be without one, and admits any document. */
  private suggestMaxGlobals(): number {
    const { globalTokens, textGlobals, maxTextGlobals } = this.pieceOptions;
    const { pieces, rowStarts, rows } = this.makePlan(0, Number.POSITIVE_INFINITY);
    const perRow = Array.from({ length: rows }, (_, row) =>
      pieces
        .subarray(rowStarts[row], rowStarts[row + 1])
        .reduce((sum, piece) => sum + this.pieces.globals[piece], 0),
    ).sort((a, b) => a - b);
    const usual = perRow[Math.floor(0.99 * (rows - 1))];
    return Math.max(usual, globalTokens + (textGlobals === "none" ? 0 : maxTextGlobals));
  }

  private plan(epoch: number): RowPlan {
    const known = this.options.shuffle ? epoch : 0;
    if (this.cached?.epoch !== known)
      this.cached = { epoch: known, plan: this.makePlan(known, this.maxGlobals) };
    return this.cached.plan;
  }

  private makePlan(epoch: number, maxGlobals: number): RowPlan {
    const count = this.pieces.length.length;
    const { shuffle, packing = true, lookAhead = 64, length, globalTokens = 0 } = this.options;
    const order = shuffle
      ? shuffle.permutation(count, Stream.Shuffle, epoch)
      : Uint32Array.from({ length: count }, (_, i) => i);
    return planRows(this.pieces, order, { length, globalTokens, maxGlobals, lookAhead, packing });
  }

  private build(sequence: number, pieces: Int32Array): Row {
    const { length, globalTokens } = this.pieceOptions;
    const { vocabSize, special } = this.options.tokenizer;
    const ids = new Int32Array(length).fill(special.pad);
    const given = new Uint8Array(length).fill(1);
    const segment = new Int32Array(length).fill(-1);
    const position = new Int32Array(length);
    const globals: number[] = [];
    let at = 0;
    pieces.forEach((piece, number) => {
      const document = this.pieces.document[piece];
      const start = this.pieces.start[piece];
      const end = start + this.pieces.length[piece];
      const text = this.corpus.ids(document, start, end);
      const flags = this.corpus.given(document, start, end);
      const first = at + globalTokens;
      const last = first + text.length;
      for (let k = 0; k < globalTokens; k++) {
        ids[at + k] = vocabSize + k;
        globals.push(at + k);
      }
      ids.set(text, first);
      given.set(flags, first);
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
export const packRows = (documents: TokenCorpus | Iterable<TokenDocument>, options: RowOptions): RowSource =>
  new RowSource(
    documents instanceof TokenCorpus ? documents : TokenCorpus.from(documents, options.tokenizer.vocabSize),
    options,
  );
