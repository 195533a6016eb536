/**
 * @file Which pieces of documents share a row. Long documents are cut into pieces of at most N - g tokens; pieces are taken in
 * (shuffled) order, and each row is filled from a short look-ahead with the longest piece that still fits. Nothing is dropped.
 */
/** Which positions of the text act as global tokens, besides the learned ones. */
export type TextGlobals = "none" | "separators" | "source";

/**
 * Pieces of documents, one entry each. A document longer than the capacity becomes consecutive full pieces and a remainder; every
 * piece stands alone (own segment, own learned globals, positions from 0), as a generated text does.
 */
export interface Pieces {
  readonly document: Int32Array;
  /** First token of the piece in its document. */
  readonly start: Int32Array;
  /** Tokens of the piece. */
  readonly length: Int32Array;
  /** Global tokens it brings: learned and text. */
  readonly globals: Int32Array;
}

export interface PieceOptions {
  /** Row length N. */
  readonly length: number;
  /** Learned global tokens g in front of every piece. */
  readonly globalTokens: number;
  readonly textGlobals: TextGlobals;
  /** Most text globals of one piece. */
  readonly maxTextGlobals: number;
  /** Ids that count as separators. */
  readonly separators: ReadonlySet<number>;
}

/**
 * Offsets in a piece of the text positions that are global, at most `maxTextGlobals`, the first ones. Only given positions
 * qualify: making a target [SEP] global would tell the model where it is.
 */
export function textGlobalOffsets(
  ids: ArrayLike<number>,
  given: Uint8Array,
  { textGlobals, maxTextGlobals, separators }: PieceOptions,
): number[] {
  const offsets: number[] = [];
  if (textGlobals === "none") return offsets;
  for (let i = 0; i < ids.length && offsets.length < maxTextGlobals; i++)
    if (given[i] === 1 && (textGlobals === "source" || separators.has(ids[i]))) offsets.push(i);
  return offsets;
}

/** Pieces row by row: row r holds `pieces[rowStarts[r]] .. pieces[rowStarts[r + 1] - 1]`. */
export interface RowPlan {
  readonly pieces: Int32Array;
  readonly rowStarts: Int32Array;
  readonly rows: number;
}

export interface PlanOptions {
  readonly length: number;
  readonly globalTokens: number;
  /** Most global tokens of a row. */
  readonly maxGlobals: number;
  /** Most global tokens of the pieces that any `span` positions next to each other have a part in. Default: no such bound. */
  readonly near?: { readonly span: number; readonly most: number } | null;
  /** How many pieces in order are looked at to fill a row; 1 packs strictly in order. */
  readonly lookAhead: number;
  /** false: one piece a row. */
  readonly packing: boolean;
}

/**
 * Plans one epoch. Every row starts with the piece that has waited longest, so no piece waits for more than `lookAhead` rows.
 * @param order the pieces in the order of this epoch, a permutation.
 */
export function planRows(pieces: Pieces, order: ArrayLike<number>, options: PlanOptions): RowPlan {
  const count = order.length;
  const planned = new Int32Array(count);
  if (!options.packing) {
    for (let i = 0; i < count; i++) planned[i] = order[i];
    return { pieces: planned, rowStarts: Int32Array.from({ length: count + 1 }, (_, i) => i), rows: count };
  }
  const { length, globalTokens, maxGlobals, lookAhead, near = null } = options;
  const rowStarts = [0];
  const waiting: number[] = [];
  let next = 0;
  let done = 0;
  while (done < count) {
    let room = length;
    let roomForGlobals = maxGlobals;
    for (;;) {
      while (waiting.length < lookAhead && next < count) waiting.push(order[next++]);
      const row = planned.subarray(rowStarts.at(-1), done);
      const first = row.length === 0;
      const roomNear = near
        ? near.most - globalsBehind(pieces, row, globalTokens, near.span)
        : roomForGlobals;
      const chosen = first
        ? 0
        : longestFit(pieces, waiting, room - globalTokens, Math.min(roomForGlobals, roomNear));
      if (chosen < 0 || waiting.length === 0) break;
      const [piece] = waiting.splice(chosen, 1);
      planned[done++] = piece;
      room -= globalTokens + pieces.length[piece];
      roomForGlobals -= pieces.globals[piece];
    }
    rowStarts.push(done);
  }
  return { pieces: planned, rowStarts: Int32Array.from(rowStarts), rows: rowStarts.length - 1 };
}

/** Global tokens of the pieces that have a part in the last `span - 1` positions of a row so far. */
function globalsBehind(pieces: Pieces, row: Int32Array, globalTokens: number, span: number): number {
  let sum = 0;
  let seen = 0;
  for (let i = row.length - 1; i >= 0 && seen < span - 1; i--) {
    sum += pieces.globals[row[i]];
    seen += globalTokens + pieces.length[row[i]];
  }
  return sum;
}

/** Most global tokens of the pieces that any `span` positions of a row have a part in. */
export function mostNear(pieces: Pieces, row: Int32Array, globalTokens: number, span: number): number {
  let most = 0;
  for (let i = 0; i < row.length; i++) {
    const behind = globalsBehind(pieces, row.subarray(0, i), globalTokens, span);
    most = Math.max(most, behind + pieces.globals[row[i]]);
  }
  return most;
}

/** Index of the longest waiting piece within both bounds, the earliest of equals; -1 when none fits. */
function longestFit(pieces: Pieces, waiting: readonly number[], room: number, globals: number): number {
  let best = -1;
  let longest = 0;
  for (let i = 0; i < waiting.length; i++) {
    const length = pieces.length[waiting[i]];
    if (length > longest && length <= room && pieces.globals[waiting[i]] <= globals) {
      best = i;
      longest = length;
    }
  }
  return best;
}
