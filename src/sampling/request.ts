/**
 * @file What can be asked for: a text from nothing, a target for a source, the rest of a text, or the gaps in one. All of them come
 * to one list of parts, each a given text or a gap:
 *
 *     nothing          gap                     prompt   given, gap
 *     infill           given, gap, given ...   suffix   gap, given
 */
import { UserError } from "../errors.js";

/** A part of a template: text that is given, or a gap of so many tokens. */
export type InfillPart = string | { readonly gap: number };

/** One text to write. Without any field: a text from nothing. */
export interface GenerationRequest {
  /** Source text, for models trained on {"src", "trg"}: what is written is the target. */
  readonly src?: string | undefined;
  /** What the text (with `src`: the target) begins with. */
  readonly prompt?: string | undefined;
  /** What the text ends with. */
  readonly suffix?: string | undefined;
  /**
   * The text with its gaps, instead of prompt and suffix: a template in which `[MASK:n]` is a gap of n tokens and `[MASK]` one of 32,
   * or the parts themselves (for a text that holds such words).
   */
  readonly infill?: string | readonly InfillPart[] | undefined;
  /** Tokens of the text, prompt and suffix included, source not. Not for `infill`, whose gaps say it. Default: the configuration's. */
  readonly length?: number | undefined;
  /** Number of its first sample (default 0): the identity of its random numbers beside the seed. */
  readonly firstSample?: number | undefined;
}

/** Tokens of a gap written `[MASK]`. */
export const DEFAULT_GAP = 32;

const MARKER = /\[MASK(?::([^\]\n]*))?\]/g;

/** The parts of a template with `[MASK]` and `[MASK:n]` in it. Everything else is given, to the byte. */
export function parseTemplate(template: string): InfillPart[] {
  const parts: InfillPart[] = [];
  let end = 0;
  for (const marker of template.matchAll(MARKER)) {
    const [whole, size] = marker;
    if (size !== undefined && !/^[1-9]\d*$/.test(size))
      throw new UserError(`infill: expected [MASK] or [MASK:n] with n tokens from 1 on, got ${whole}`);
    parts.push(template.slice(end, marker.index), { gap: size === undefined ? DEFAULT_GAP : Number(size) });
    end = marker.index + whole.length;
  }
  return [...parts, template.slice(end)];
}

/** A part with what it comes to in tokens. */
export type TokenPart =
  | { readonly kind: "given"; readonly text: string; readonly ids: Int32Array }
  | { readonly kind: "gap"; readonly size: number };

/**
 * The parts of a request: neighbouring given texts are one, empty ones are left out. At least one is a gap.
 * @param defaultLength tokens of the text when the request does not say @param why that many, for the message when they are too few
 */
export function requestParts(
  request: GenerationRequest,
  encode: (text: string) => Int32Array,
  defaultLength: number,
  why = "",
): TokenPart[] {
  const { prompt = "", suffix = "", infill, length } = request;
  const given = (text: string): TokenPart[] =>
    text === "" ? [] : [{ kind: "given", text, ids: encode(text) }];
  if (infill !== undefined) {
    if (prompt !== "" || suffix !== "" || length !== undefined)
      throw new UserError(
        "infill: expected no prompt, suffix or length beside it, as the template says them; write them into it",
      );
    return templateParts(typeof infill === "string" ? parseTemplate(infill) : infill, given);
  }
  const [before, after] = [given(prompt), given(suffix)];
  const total = length ?? defaultLength;
  const used = [...before, ...after].reduce(
    (sum, part) => sum + (part.kind === "given" ? part.ids.length : 0),
    0,
  );
  if (total <= used)
    throw new UserError(
      `length: expected more tokens than the ${used} of the given text, got ${total}${length === undefined ? why : ""}; raise --length`,
    );
  return [...before, { kind: "gap", size: total - used }, ...after];
}

function templateParts(template: readonly InfillPart[], given: (text: string) => TokenPart[]): TokenPart[] {
  const parts: TokenPart[] = [];
  let text = "";
  for (const part of template) {
    if (typeof part === "string") {
      text += part;
      continue;
    }
    if (!Number.isInteger(part.gap) || part.gap < 1)
      throw new UserError(`infill: expected gaps of 1 token or more, got ${part.gap}`);
    parts.push(...given(text), { kind: "gap", size: part.gap });
    text = "";
  }
  if (parts.length === 0)
    throw new UserError("infill: expected at least one gap, [MASK] or [MASK:n], got a text without any");
  return [...parts, ...given(text)];
}
