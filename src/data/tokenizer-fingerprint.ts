/** @file What tells one vocabulary from another: a checksum of its tokens and merges, however the file that holds them is written. */
import { createHash } from "node:crypto";
import type { Tokenizer } from "./tokenizer.js";

const known = new WeakMap<Tokenizer, string>();

/** SHA-256 of the tokens in the order of their ids and the merges in the order of their rank. */
export function fingerprintOf(tokenizer: Tokenizer): string {
  const found = known.get(tokenizer);
  if (found) return found;
  const { vocab, merges } = tokenizer.toJSON().model;
  const tokens = Object.entries(vocab).sort(([, a], [, b]) => a - b);
  const pairs = merges.map((merge) => (typeof merge === "string" ? (merge as string).split(" ") : merge));
  const fingerprint = createHash("sha256")
    .update(JSON.stringify([tokens, pairs]))
    .digest("hex");
  known.set(tokenizer, fingerprint);
  return fingerprint;
}
