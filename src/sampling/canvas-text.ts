/**
 * @file From a canvas back to text: given parts are the very strings of the request, gaps are decoded between them. So given text
 * comes back to the byte whatever the tokens beside it decode to; half a character at the edge of a gap becomes U+FFFD inside the gap.
 */
import type { DecodeOptions } from "../data/tokenizer.js";
import type { Canvas } from "./canvas.js";

/** What reading a canvas needs of a tokenizer. */
export interface TextTokenizer {
  readonly special: { readonly sep: number };
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
}

export interface CanvasText {
  /** The whole text, given parts included, the source not; cut at the first [SEP] of the last gap. */
  readonly text: string;
  /** What was written, gap by gap. */
  readonly gaps: readonly string[];
  /** Token ids of the text, given parts included. */
  readonly ids: Int32Array;
  /** Whether the text came to its end: the model wrote [SEP], or the end was given. */
  readonly ended: boolean;
}

/** The finished text. ids: int32 [n], a token at every position of the canvas. */
export function readCanvas(canvas: Canvas, ids: Int32Array, tokenizer: TextTokenizer): CanvasText {
  const { parts, endFrom } = canvas;
  const textEnd = parts[parts.length - 1].end;
  const separator = ids.subarray(0, textEnd).indexOf(tokenizer.special.sep, endFrom);
  const cut = separator < 0 ? textEnd : separator;
  const gaps: string[] = [];
  let text = "";
  for (const part of parts) {
    if (part.kind === "given") text += part.text;
    else {
      gaps.push(tokenizer.decode(ids.subarray(part.start, Math.min(part.end, cut))));
      text += gaps[gaps.length - 1];
    }
  }
  return { text, gaps, ids: ids.slice(parts[0].start, cut), ended: separator >= 0 || endFrom >= textEnd };
}

/** Stands for a token that is not settled yet. */
export const PLACEHOLDER = "░";

/**
 * The text as far as it is settled, a placeholder for every other token; cut at the first settled [SEP] of the last gap.
 * @param ids int32 [n] @param settled uint8 [n]; only gaps are looked at
 */
export function showCanvas(
  canvas: Canvas,
  ids: Int32Array,
  settled: Uint8Array,
  tokenizer: TextTokenizer,
  placeholder = PLACEHOLDER,
): string {
  let text = "";
  for (const part of canvas.parts) {
    if (part.kind === "given") {
      text += part.text;
      continue;
    }
    let run = part.start;
    for (let p = part.start; p < part.end; p++) {
      const ends = settled[p] === 1 && p >= canvas.endFrom && ids[p] === tokenizer.special.sep;
      if (settled[p] === 1 && !ends) continue;
      text += tokenizer.decode(ids.subarray(run, p));
      if (ends) return text;
      text += placeholder;
      run = p + 1;
    }
    text += tokenizer.decode(ids.subarray(run, part.end));
  }
  return text;
}
