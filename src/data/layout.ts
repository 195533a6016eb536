/**
 * @file How the tokens of a document stand in a sequence. Free text is `text [SEP]`, all of it target; a condition and its answer are
 * `[CLS] src [SEP] [SEP] trg [SEP]`, given up to and including the second [SEP]. The last [SEP] is a target: the model learns where a
 * document ends. Lengths alone decide the shape, so a corpus on the disk need not be read to be planned.
 */
import { UserError } from "../errors.js";
import type { SpecialIds } from "./tokenizer-json.js";

export interface LayoutOptions {
  /**
   * Longest conditional document in tokens (default: no bound): the longer of src and trg is cut at its end until both fit, and
   * a cut trg loses its final [SEP]. Free text is never cut here; packing cuts it into chunks.
   */
  readonly maxLength?: number | null;
  /**
   * DiffuSeq's way to learn length: documents shorter than this many tokens are filled up with [PAD] tokens that are targets
   * (default null: none). A target that was cut is not filled up: its end is none. Not to be confused with the inert padding of a row.
   */
  readonly padTargets?: number | null;
}

export interface LayoutLimits {
  /** Most tokens of src and trg together. */
  readonly room: number;
  readonly padTargets: number;
}

/** How many tokens of what a document has. */
export interface DocumentShape {
  /** Tokens kept of the source; null: free text. */
  readonly source: number | null;
  readonly target: number;
  /** Whether the target is whole, so that its end is an end. */
  readonly complete: boolean;
  /** Positions at the start that are given. */
  readonly given: number;
  /** Tokens in all, padding included. */
  readonly length: number;
  readonly shortened: boolean;
  /** Longer than `padTargets`, or cut, so left as it is. */
  readonly unpadded: boolean;
}

const CONDITIONAL_SPECIALS = 4;
/** The source of a document that has none. */
export const plain = new Int32Array(0);

/** @throws UserError for a maxLength without room */
export function layoutLimits({ maxLength = null, padTargets = null }: LayoutOptions): LayoutLimits {
  if (maxLength !== null && maxLength < CONDITIONAL_SPECIALS + 2)
    throw new UserError(
      `expected room for documents of at least ${CONDITIONAL_SPECIALS + 2} tokens, got ${maxLength} ` +
        "(in a run: training.sequenceLength less model.attention.globalTokens); raise training.sequenceLength",
    );
  return {
    room: (maxLength ?? Number.POSITIVE_INFINITY) - CONDITIONAL_SPECIALS,
    padTargets: padTargets ?? 0,
  };
}

/** @param source tokens of the source, null for free text. @param target tokens of the target, or of the text. */
export function shapeOf(
  source: number | null,
  target: number,
  { room, padTargets }: LayoutLimits,
): DocumentShape {
  if (source === null) {
    const bare = target + 1;
    const length = bare > padTargets ? bare : padTargets;
    const unpadded = padTargets > 0 && bare > padTargets;
    return { source, target, complete: true, given: 0, length, shortened: false, unpadded };
  }
  const kept = shorten(source, target, room);
  const given = kept.source + 3;
  const bare = given + kept.target + (kept.complete ? 1 : 0);
  return {
    ...kept,
    given,
    length: kept.complete ? Math.max(bare, padTargets) : bare,
    shortened: kept.source !== source || kept.target !== target,
    unpadded: padTargets > 0 && (bare > padTargets || !kept.complete),
  };
}

/** Cuts the longer side until both have at most `room` tokens together. */
function shorten(source: number, target: number, room: number) {
  if (source + target <= room) return { source, target, complete: true };
  const half = Math.floor(room / 2);
  const keptTarget = source <= half ? room - source : Math.min(target, half);
  const keptSource = Math.min(source, room - keptTarget);
  return { source: keptSource, target: keptTarget, complete: keptTarget === target };
}

/** The whole document. @param source, target ids, at least as many as the shape keeps of them. */
export function layOut(
  source: ArrayLike<number>,
  target: ArrayLike<number>,
  shape: DocumentShape,
  { pad, cls, sep }: SpecialIds,
): Int32Array {
  const ids = new Int32Array(shape.length).fill(pad);
  let at = 0;
  if (shape.source !== null) {
    ids[at++] = cls;
    for (let i = 0; i < shape.source; i++) ids[at++] = source[i];
    ids[at++] = sep;
    ids[at++] = sep;
  }
  for (let i = 0; i < shape.target; i++) ids[at++] = target[i];
  if (shape.complete) ids[at] = sep;
  return ids;
}
