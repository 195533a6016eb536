/** @file What comes in from outside, held against what can be asked for, before anything is made of it. */
import { checkObject } from "../config/check-object.js";
import { isTree, show } from "../config/layers.js";
import { MOST } from "../config/limits.js";
import { UserError } from "../errors.js";
import type { GenerationRequest } from "./request.js";

/** Throws unless it is a number of things. */
export function checkCount(name: string, value: unknown, least: 0 | 1 = 1, most = MOST): void {
  if (!Number.isInteger(value) || Number(value) < least || Number(value) > most)
    throw new UserError(`${name}: expected an integer from ${least} on, at most ${most}, got ${show(value)}`);
}

/** Whether a part of a template is one. */
const isPart = (part: unknown): boolean =>
  typeof part === "string" || (isTree(part) && Object.keys(part).join() === "gap");

/** What a field of a request must be; undefined: it is left out. */
const fields: Readonly<Record<keyof GenerationRequest, (value: unknown, name: string) => void>> = {
  src: checkText,
  prompt: checkText,
  suffix: checkText,
  infill: (value) => {
    if (typeof value !== "string" && !(Array.isArray(value) && value.every(isPart)))
      throw new UserError(
        `infill: expected text with [MASK] or [MASK:n] in it, or a list of texts and gaps such as { gap: 8 }, got ${show(value)}`,
      );
  },
  length: (value) => checkCount("length", value),
  firstSample: (value) => checkCount("firstSample", value, 0, 2 ** 32 - 1),
};

function checkText(value: unknown, name: string): void {
  if (typeof value !== "string")
    throw new UserError(`${name}: expected text, got ${show(value)}; leave it out where there is none`);
}

/** @throws UserError for anything that is no request */
export function checkRequest(request: GenerationRequest): void {
  checkObject("request", request, Object.keys(fields), '{ prompt: "We show" }');
  for (const [name, value] of Object.entries(request))
    if (value !== undefined) fields[name as keyof GenerationRequest](value, name);
}
