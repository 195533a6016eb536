/** @file Which weights eight bits will do for when a model is run (generation.dtype "q8"). */
import { CODEBOOK, EMBEDDINGS, LOG_UNIGRAM, OUTPUT_BIAS } from "./embeddings.js";

/** What products over the vocabulary are with: tables of codes, a bias as one more column. */
const vocabulary: ReadonlySet<string> = new Set([EMBEDDINGS, CODEBOOK, OUTPUT_BIAS, LOG_UNIGRAM]);

/**
 * Whether a product with this parameter, or with a matrix made of such, may run in eight bits: the linear layers inside the transformer,
 * and the tables of the vocabulary. Routers are left as they are (small, and a choice of experts is all or nothing), input layer and
 * heads too (small).
 */
export const isInt8Weight = (name: string): boolean =>
  /^layers\.\d+\.(attention|experts|shared_expert|mlp)\..*weight$/.test(name) || vocabulary.has(name);
