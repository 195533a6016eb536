/** @file Objects of options that come in from outside: a key that is not known would be ignored, and taken for heeded. */
import { UserError } from "../errors.js";
import { isTree, show } from "./layers.js";
import { didYouMean } from "./nearest.js";

/** Throws for what cannot stop work: an AbortController, say, whose signal is meant. */
export function checkSignal(signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new UserError(
      `signal: expected an AbortSignal, got ${signal instanceof AbortController ? "its AbortController" : show(signal)}; ` +
        "pass controller.signal of a new AbortController()",
    );
}

/** Throws unless it is an object. @param keys those it may have @param example of one, for the message */
export function checkObject(name: string, value: unknown, keys: readonly string[], example: string): void {
  if (!isTree(value))
    throw new UserError(`${name}: expected an object such as ${example}, got ${show(value)}`);
  const unknown = Object.keys(value).find((key) => !keys.includes(key));
  if (unknown !== undefined)
    throw new UserError(
      `${name}: unknown key "${unknown}"${didYouMean(unknown, keys, `; known: ${keys.join(", ")}`)}`,
    );
}
