/**
 * @file Tokenized documents in one block of memory: ids and flags end to end, with an offset for each document.
 * Free text is `text [SEP]`, all of it target; a condition and its answer are `[CLS] src [SEP] [SEP] trg [SEP]`, given up to and
 * including the second [SEP]. The last [SEP] is a target: the model learns where a document ends.
 */
import { UserError } from "../errors.js";
import type { Document } from "./records.js";
import type { Tokenizer } from "./tokenizer.js";

export interface TokenDocument {
  /** Its number in the corpus, from 0. */
  readonly id: number;
  /** Token ids. [length] */
  readonly ids: Int32Array;
  /** 1: given (never noised, no loss), 0: target. [length] */
  readonly given: Uint8Array;
}

export interface CorpusCounts {
  documents: number;
  conditional: number;
  tokens: number;
  /** UTF-8 bytes of text behind the tokens. */
  bytes: number;
  /** Conditional documents that were cut to `maxLength`. */
  shortened: number;
  /** Documents already longer than `padTargets`, so left as they are. */
  unpadded: number;
}

const noCounts = (): CorpusCounts => ({
  documents: 0,
  conditional: 0,
  tokens: 0,
  bytes: 0,
  shortened: 0,
  unpadded: 0,
});

/** Documents as tokens: 3 bytes a token (5 when the vocabulary passes 65,536). */
export class TokenCorpus {
  readonly counts: CorpusCounts = noCounts();
  private tokens: Uint16Array | Int32Array;
  private flags = new Uint8Array(1 << 12);
  private readonly offsets: number[] = [0];

  /** @param vocabSize ids are below it. */
  constructor(readonly vocabSize: number) {
    this.tokens = vocabSize <= 1 << 16 ? new Uint16Array(1 << 12) : new Int32Array(1 << 12);
  }

  /** A corpus of ready documents; they are numbered anew in their order. */
  static from(documents: Iterable<Omit<TokenDocument, "id">>, vocabSize: number): TokenCorpus {
    const corpus = new TokenCorpus(vocabSize);
    for (const { ids, given } of documents) corpus.append(ids, given);
    return corpus;
  }

  /** Number of documents. */
  get size(): number {
    return this.offsets.length - 1;
  }

  /** Tokens of one document. */
  length(document: number): number {
    return this.offsets[document + 1] - this.offsets[document];
  }

  /** Adds a document. @param given flags [length], or how many positions at its start are given. */
  append(ids: ArrayLike<number>, given: Uint8Array | number = 0): void {
    const start = this.offsets[this.size];
    const end = start + ids.length;
    if (end > this.tokens.length) this.grow(end);
    this.tokens.set(ids, start);
    if (typeof given === "number") this.flags.fill(1, start, start + given);
    else this.flags.set(given, start);
    this.offsets.push(end);
    this.counts.documents++;
    this.counts.tokens += ids.length;
  }

  private grow(needed: number): void {
    const size = Math.max(needed, Math.ceil(this.tokens.length * 1.5));
    const tokens = this.tokens instanceof Uint16Array ? new Uint16Array(size) : new Int32Array(size);
    tokens.set(this.tokens);
    this.tokens = tokens;
    const flags = new Uint8Array(size);
    flags.set(this.flags);
    this.flags = flags;
  }

  /** Ids of a part of a document, as a view that must not be written to. */
  ids(document: number, start = 0, end = this.length(document)): Uint16Array | Int32Array {
    const offset = this.offsets[document];
    return this.tokens.subarray(offset + start, offset + end);
  }

  /** Flags of a part of a document, as a view that must not be written to. */
  given(document: number, start = 0, end = this.length(document)): Uint8Array {
    const offset = this.offsets[document];
    return this.flags.subarray(offset + start, offset + end);
  }

  /** A copy of one document. */
  document(id: number): TokenDocument {
    return { id, ids: Int32Array.from(this.ids(id)), given: this.given(id).slice() };
  }

  *[Symbol.iterator](): Generator<TokenDocument> {
    for (let id = 0; id < this.size; id++) yield this.document(id);
  }
}

export interface TokenizeOptions {
  /**
   * Longest conditional document in tokens (default: no bound): the longer of src and trg is cut at its end until both fit, and
   * a cut trg loses its final [SEP]. Free text is never cut here; packing cuts it into chunks.
   */
  readonly maxLength?: number | null;
  /**
   * DiffuSeq's way to learn length: documents shorter than this many tokens are filled up with [PAD] tokens that are targets
   * (default null: none). Not to be confused with the inert padding of a row.
   */
  readonly padTargets?: number | null;
  /** Stop after the document that reaches this many tokens (default: read everything). */
  readonly maxTokens?: number | null;
}

const CONDITIONAL_SPECIALS = 4;

/** Tokenizes documents, giving other work a turn now and then. */
export async function tokenizeDocuments(
  documents: Iterable<Document> | AsyncIterable<Document>,
  tokenizer: Tokenizer,
  { maxLength = null, padTargets = null, maxTokens = null }: TokenizeOptions = {},
): Promise<TokenCorpus> {
  if (maxLength !== null && maxLength < CONDITIONAL_SPECIALS + 2)
    throw new UserError(
      `expected a maxLength of at least ${CONDITIONAL_SPECIALS + 2} tokens, got ${maxLength}`,
    );
  const corpus = new TokenCorpus(tokenizer.vocabSize);
  const { counts } = corpus;
  const { pad, cls, sep } = tokenizer.special;
  let last = performance.now();
  for await (const document of documents) {
    const conditional = document.text === undefined;
    let ids: number[] | Int32Array;
    let given = 0;
    if (conditional) {
      const pair = shorten(
        tokenizer.encode(document.src ?? ""),
        tokenizer.encode(document.trg ?? ""),
        (maxLength ?? Number.POSITIVE_INFINITY) - CONDITIONAL_SPECIALS,
      );
      ids = [cls, ...pair.src, sep, sep, ...pair.trg];
      given = pair.src.length + 3;
      if (pair.complete) ids.push(sep);
      counts.conditional++;
      if (pair.cut) counts.shortened++;
    } else {
      const text = tokenizer.encode(document.text ?? "");
      ids = new Int32Array(text.length + 1);
      ids.set(text);
      ids[text.length] = sep;
    }
    counts.bytes += tokenizer.countBytes(ids);
    if (padTargets !== null && ids.length < padTargets) {
      const padded = new Int32Array(padTargets).fill(pad);
      padded.set(ids);
      ids = padded;
    } else if (padTargets !== null && ids.length > padTargets) counts.unpadded++;
    corpus.append(ids, given);
    if (maxTokens !== null && counts.tokens >= maxTokens) break;
    if (performance.now() - last > 20) {
      await new Promise<void>((resolve) => setTimeout(resolve));
      last = performance.now();
    }
  }
  return corpus;
}

interface Pair {
  src: Int32Array;
  trg: Int32Array;
  cut: boolean;
  /** Whether trg is whole, so that its end is an end. */
  complete: boolean;
}

/** Cuts the longer side until both have at most `budget` tokens together. */
function shorten(src: Int32Array, trg: Int32Array, budget: number): Pair {
  if (src.length + trg.length <= budget) return { src, trg, cut: false, complete: true };
  const half = Math.floor(budget / 2);
  const trgLength = src.length <= half ? budget - src.length : Math.min(trg.length, half);
  const srcLength = Math.min(src.length, budget - trgLength);
  const complete = trgLength === trg.length;
  return { src: src.subarray(0, srcLength), trg: trg.subarray(0, trgLength), cut: true, complete };
}
