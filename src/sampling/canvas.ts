/**
 * @file The canvas: one request as a row of positions, some given, some to be written. The flag vector is all that tells
 * unconditional, conditional, prefix, suffix and infilling apart. A canvas looks like a document does in training:
 *
 *     [learned globals] text ([SEP])                               free text
 *     [learned globals] [CLS] src [SEP] [SEP] text ([SEP])         with a source
 *
 * Where the text ends with a gap, the model ends it with a [SEP] of its own; where it ends with given text, the [SEP] is given too.
 */
import type { RunConfig } from "../config/index.js";
import { MOST } from "../config/limits.js";
import { textGlobalOffsets } from "../data/packing.js";
import type { Row } from "../data/rows.js";
import type { SpecialIds } from "../data/tokenizer.js";
import { UserError } from "../errors.js";
import { checkRequest } from "./check-request.js";
import { type GenerationRequest, requestParts } from "./request.js";

/** What stands at positions start .. end - 1 of the row. */
export type CanvasPart =
  | { readonly kind: "given"; readonly text: string; readonly start: number; readonly end: number }
  | { readonly kind: "gap"; readonly start: number; readonly end: number };

export interface Canvas {
  /** The row without padding: n positions; targets hold [PAD] until they are written. */
  readonly row: Omit<Row, "sequence">;
  /** [n] 1: to be written. */
  readonly target: Uint8Array;
  /** The text, in order; what stands in front (globals, source) and behind (a given [SEP]) is no part of it. */
  readonly parts: readonly CanvasPart[];
  /** int32: tokens of the text in front of the parts, which the canvas does not tell of; a block's (blocks.ts), else none. */
  readonly before: Int32Array;
  /** First position of the last part when it is a gap, where the text may end; else n. */
  readonly endFrom: number;
}

/** The parts of a run's configuration that a canvas depends on. */
export interface CanvasConfig {
  readonly model: Pick<RunConfig["model"], "vocabSize" | "attention">;
  readonly data: Pick<RunConfig["data"], "padTargets">;
}

/** What a canvas needs of a tokenizer. */
export interface CanvasTokenizer {
  readonly special: SpecialIds;
  encode(text: string): Int32Array;
}

/** Why a text is shorter than the settings say. */
const leftBySource =
  "all that the source leaves of data.padTargets (`length` of the settings is a most here, that of the request is heeded)";

/**
 * The canvas of a request.
 * @param defaultLength tokens of the text when the request does not say. Models trained with `padTargets` have seen whole documents of
 * that many tokens: with a source, the text is at most as long as what they leave, unless the request says.
 * @throws UserError for a request that contradicts itself or leaves nothing to write
 */
export function buildCanvas(
  request: GenerationRequest,
  config: CanvasConfig,
  tokenizer: CanvasTokenizer,
  defaultLength: number,
): Canvas {
  checkRequest(request);
  const { special } = tokenizer;
  const { attention, vocabSize } = config.model;
  const encode = (text: string) => tokenizer.encode(text);
  const condition =
    request.src === undefined ? [] : [special.cls, ...encode(request.src), special.sep, special.sep];
  const whole = config.data.padTargets ?? Number.POSITIVE_INFINITY;
  const room = whole - condition.length;
  if (condition.length > 0 && room < 1 && request.length === undefined && request.infill === undefined)
    throw new UserError(
      `The source and its separators take ${condition.length} tokens; the model was trained on documents of ${whole} tokens in all ` +
        "(data.padTargets), so nothing is left to write. Shorten the source, or say how long the text is to be: by --length, or `length` of the request " +
        "(that of the settings is a most here).",
    );
  const cut = condition.length > 0 && room < defaultLength;
  const tokenParts = cut
    ? requestParts(request, encode, Math.max(1, room), `, ${leftBySource}`)
    : requestParts(request, encode, defaultLength);
  const size = tokenParts.reduce(
    (sum, part) => sum + (part.kind === "given" ? part.ids.length : part.size),
    0,
  );
  if (size > MOST)
    throw new UserError(
      `The text: expected at most ${MOST} tokens in all, got ${size}; ask for a shorter one (--length, or smaller gaps).`,
    );

  const ids: number[] = Array.from({ length: attention.globalTokens }, (_, k) => vocabSize + k);
  const globals = Array.from(ids.keys());
  const separators = new Set([special.cls, special.sep]);
  // Given text inside the target is not made global: in training, only a source is given.
  const allGiven = new Uint8Array(condition.length).fill(1);
  const placing = { ...attention, length: Number.POSITIVE_INFINITY, separators };
  for (const offset of textGlobalOffsets(condition, allGiven, placing)) globals.push(ids.length + offset);
  for (const id of condition) ids.push(id);

  const parts = tokenParts.map((part): CanvasPart => {
    const start = ids.length;
    if (part.kind === "given") for (const id of part.ids) ids.push(id);
    else for (let i = 0; i < part.size; i++) ids.push(special.pad);
    const end = ids.length;
    return part.kind === "given"
      ? { kind: "given", text: part.text, start, end }
      : { kind: "gap", start, end };
  });
  const last = parts[parts.length - 1];
  if (last.kind === "given") ids.push(special.sep);

  const target = new Uint8Array(ids.length);
  for (const { kind, start, end } of parts) if (kind === "gap") target.fill(1, start, end);
  return {
    row: {
      ids: Int32Array.from(ids),
      given: target.map((flag) => 1 - flag),
      segment: new Int32Array(ids.length),
      position: Int32Array.from(ids.keys()),
      globals: Int32Array.from(globals),
    },
    target,
    parts,
    before: new Int32Array(0),
    endFrom: last.kind === "gap" ? last.start : ids.length,
  };
}

/** Tokens to be written. */
export const countTargets = ({ target }: Pick<Canvas, "target">): number =>
  target.reduce((sum, flag) => sum + flag, 0);

/** Slots for global tokens that every canvas of a model fits in. */
export const canvasGlobalSlots = ({ attention }: CanvasConfig["model"]): number =>
  attention.globalTokens + (attention.textGlobals === "none" ? 0 : attention.maxTextGlobals);
