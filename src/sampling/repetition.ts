/**
 * @file Control of repetition, where tokens are written in any order. Logits of a position that a token is drawn for are changed on the
 * host:
 *
 *     repetitionPenalty r   log p(v) <- r log p(v)     once for each token v that stands within repetitionWindow to either side
 *     noRepeatNgram n       p(v) <- 0                  for v that would complete an n-gram which the text has already
 *
 * The first is CTRL's penalty (arXiv 1909.05858) on log p, where it does not depend on a constant in the logits. Names as in Hugging
 * Face, which counts what stands to the left; here, what counts is the text that is known when the token is drawn, on both sides:
 *
 * - given text around the gaps and the blocks in front count, the source and what stands behind a written end of the text do not;
 * - written tokens count until re-absorption takes them back; special tokens never count and are never changed;
 * - of the tokens drawn in one step, in order of position, the earlier count for the later where all that is drawn is written (random
 *   release, last step). Otherwise they do not, as it is not yet known which of them stay: two may then say the same.
 *
 * So with random release and no re-absorption, no n-gram that has a written token in it occurs twice. A Gaussian process writes all
 * tokens at its last step, the likeliest ones in order of position: there it holds too.
 */
import type { GenerationConfig } from "../config/index.js";
import type { SpecialIds } from "../data/tokenizer.js";
import type { Canvas } from "./canvas.js";
import { type RoundedTokens, type RoundingOptions, RowSampler, roundLogits } from "./rounding.js";

export type RepetitionSettings = Pick<
  GenerationConfig,
  "repetitionPenalty" | "repetitionWindow" | "noRepeatNgram"
>;

/** What is known of a text when a step begins: ids int32 [n], absorbed uint8 [n]. */
export interface KnownTokens {
  readonly ids: Int32Array;
  readonly absorbed: Uint8Array;
}

/** Taken off the logit of what would repeat: never drawn, unless nothing else but special tokens is left. */
const REPEATED = 1e7;

/** For one sample. Places are those in the text, not on the canvas: what stands in front of its parts comes first. */
export class RepetitionControl {
  /** int32 [text]: tokens that count, -1 elsewhere. */
  private readonly tokens: Int32Array;
  /** Place of the canvas's first part. */
  private readonly first: number;
  /** Place less position on the canvas. */
  private readonly offset: number;
  /** Token -> where it stands, in front of the canvas's parts and in them; there also where it has stood until the text's end came before it. */
  private readonly placesBefore = new Map<number, number[]>();
  private readonly places = new Map<number, number[]>();
  private readonly separator: number;
  private readonly special: ReadonlySet<number>;
  private sampler: RowSampler | undefined;

  constructor(
    private readonly canvas: Pick<Canvas, "parts" | "target" | "before" | "endFrom">,
    { pad, cls, sep }: SpecialIds,
    private readonly settings: RepetitionSettings,
  ) {
    this.separator = sep;
    this.special = new Set([pad, cls, sep]);
    const { parts, before } = canvas;
    const { noRepeatNgram, repetitionWindow } = settings;
    const near =
      noRepeatNgram > 0 || repetitionWindow === 0 ? 0 : Math.max(0, before.length - repetitionWindow);
    const known = before.subarray(near);
    this.first = known.length;
    this.offset = this.first - parts[0].start;
    this.tokens = new Int32Array(parts[parts.length - 1].end + this.offset).fill(-1);
    for (const [place, id] of known.entries()) this.count(place, id, this.placesBefore);
  }

  /** Whether the settings ask for any. */
  static wanted({ repetitionPenalty, noRepeatNgram }: RepetitionSettings): boolean {
    return repetitionPenalty !== 1 || noRepeatNgram > 0;
  }

  /**
   * Draws as `roundLogits` does, row after row, from the text as `read` took it in. logits: float32 [R, V], changed in place; uniforms:
   * float32 [R].
   * @param positions R, ascending @param allStay whether every drawn token will be written
   */
  round(
    positions: readonly number[],
    logits: Float32Array,
    uniforms: Float32Array,
    options: RoundingOptions,
    allStay: boolean,
  ): RoundedTokens {
    const size = logits.length / positions.length;
    if (positions.length > 0) this.sampler ??= new RowSampler(size);
    const ids = new Int32Array(positions.length);
    const [confidence, margin, entropy] = [0, 1, 2].map(() => new Float32Array(positions.length));
    for (const [r, p] of positions.entries()) {
      const row = logits.subarray(r * size, (r + 1) * size);
      this.adjust(row, p + this.offset);
      const drawn = roundLogits(row, size, uniforms.subarray(r, r + 1), options, this.sampler);
      [ids[r], confidence[r], margin[r], entropy[r]] = [
        drawn.ids[0],
        drawn.confidence[0],
        drawn.margin[0],
        drawn.entropy[0],
      ];
      if (allStay) this.write(p, ids[r]);
    }
    return { ids, confidence, margin, entropy };
  }

  /** Takes in the text as it is known before a step. */
  read({ ids, absorbed }: KnownTokens): void {
    const { parts, target } = this.canvas;
    this.tokens.fill(-1, this.first);
    this.places.clear();
    for (let p = parts[0].start; p < parts[parts.length - 1].end; p++)
      if ((target[p] === 0 || absorbed[p] === 0) && !this.write(p, ids[p])) break;
  }

  /** Takes a token at position p of the canvas in. Returns whether the text goes on behind it. */
  private write(p: number, id: number): boolean {
    const ends = id === this.separator && p >= this.canvas.endFrom;
    if (ends) this.tokens.fill(-1, p + this.offset);
    else this.count(p + this.offset, id, this.places);
    return !ends;
  }

  private count(place: number, id: number, places: Map<number, number[]>): void {
    if (this.special.has(id)) return;
    this.tokens[place] = id;
    const known = places.get(id);
    if (known) known.push(place);
    else places.set(id, [place]);
  }

  /** logits [V] of place p, changed in place. */
  private adjust(logits: Float32Array, p: number): void {
    const { repetitionPenalty, repetitionWindow, noRepeatNgram } = this.settings;
    if (repetitionPenalty !== 1) {
      const reach = repetitionWindow === 0 ? this.tokens.length : repetitionWindow;
      const near = new Set(this.tokens.subarray(Math.max(0, p - reach), p + reach + 1));
      near.delete(-1);
      const total = logSumExp(logits);
      for (const id of near) logits[id] += (repetitionPenalty - 1) * (logits[id] - total);
    }
    if (noRepeatNgram > 0) for (const id of this.completing(p, noRepeatNgram)) logits[id] -= REPEATED;
  }

  /** Tokens that at place p would complete an n-gram which stands elsewhere; the two may overlap, also at p. */
  private completing(p: number, n: number): ReadonlySet<number> {
    const { tokens } = this;
    const found = new Set<number>();
    for (let start = Math.max(0, p - n + 1); start <= Math.min(p, tokens.length - n); start++)
      for (const other of this.startsLike(p, start, n)) {
        if (other === start || other < 0 || other > tokens.length - n) continue;
        const id = this.making(p, start, other, n);
        if (id >= 0) found.add(id);
      }
    return found;
  }

  /** Where n-grams may start that are equal to the one at `start`, which holds p: a token of it beside p stands there too, or p itself. */
  private *startsLike(p: number, start: number, n: number): Iterable<number> {
    if (n === 1) return yield* this.tokens.keys();
    const beside = start < p ? p - 1 : p + 1;
    const id = this.tokens[beside];
    if (id < 0) return;
    const offset = beside - start;
    for (const places of [this.placesBefore, this.places])
      for (const place of places.get(id) ?? []) yield place - offset;
    yield p - offset;
  }

  /** The token at p that makes the n-grams at `start` (which holds p) and at `other` equal; -1: none does. */
  private making(p: number, start: number, other: number, n: number): number {
    const { tokens } = this;
    let id = -1;
    for (let k = 0; k < n; k++) {
      const [a, b] = [start + k, other + k];
      const [left, right] = [tokens[a], tokens[b]];
      if (a === p || b === p) {
        const wanted = a === p ? right : left;
        if (wanted < 0 || (id >= 0 && id !== wanted)) return -1;
        id = wanted;
      } else if (left < 0 || left !== right) return -1;
    }
    return id;
  }
}

function logSumExp(values: Float32Array): number {
  const top = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return top + Math.log(values.reduce((sum, value) => sum + Math.exp(value - top), 0));
}
