/**
 * @file Tokenized documents: what packing and training ask of a corpus, wherever it lies, and one that lies in memory: ids and flags
 * end to end, with an offset for each document.
 */
import { type LayoutOptions, layOut, layoutLimits, plain, shapeOf } from "./layout.js";
import type { Document } from "./records.js";
import type { Tokenizer } from "./tokenizer.js";
import { takeTurns } from "./turns.js";

export interface TokenDocument {
  /** Its number in the corpus, from 0. */
  readonly id: number;
  /** Token ids. [length] */
  readonly ids: Int32Array;
  /** 1: given (never noised, no loss), 0: target. [length] */
  readonly given: Uint8Array;
}

export type Ids = Uint16Array | Int32Array;

/** Documents as tokens, by number. What is handed out may be a view: it must not be written to. */
export interface Corpus {
  /** Ids are below it. */
  readonly vocabSize: number;
  /** Number of documents. */
  readonly size: number;
  /** Tokens of all documents together. */
  readonly tokens: number;
  /** Tokens of one document. */
  length(document: number): number;
  /** Whether any of it is given. */
  conditional(document: number): boolean;
  /** Ids of a part of a document; default: all of it. */
  ids(document: number, start?: number, end?: number): Ids;
  /** Flags of a part of a document (1: given, 0: target); default: all of it. */
  given(document: number, start?: number, end?: number): Uint8Array;
}

/** Whether some documents are a corpus rather than a list. */
export const isCorpus = (documents: Corpus | Iterable<TokenDocument>): documents is Corpus =>
  "conditional" in documents;

export interface CorpusCounts {
  documents: number;
  conditional: number;
  tokens: number;
  /** UTF-8 bytes of text behind the tokens. */
  bytes: number;
  /** Conditional documents that were cut to `maxLength`. */
  shortened: number;
  /** Documents already longer than `padTargets`, or cut, so left as they are. */
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

/** Documents as tokens in memory: 3 bytes a token (5 when the vocabulary passes 65,536). */
export class TokenCorpus implements Corpus {
  readonly counts: CorpusCounts = noCounts();
  private stored: Uint16Array | Int32Array;
  private flags = new Uint8Array(1 << 12);
  private readonly offsets: number[] = [0];

  /** @param vocabSize ids are below it. */
  constructor(readonly vocabSize: number) {
    this.stored = vocabSize <= 1 << 16 ? new Uint16Array(1 << 12) : new Int32Array(1 << 12);
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

  get tokens(): number {
    return this.counts.tokens;
  }

  length(document: number): number {
    return this.offsets[document + 1] - this.offsets[document];
  }

  conditional(document: number): boolean {
    return this.given(document).includes(1);
  }

  /** Adds a document. @param given flags [length], or how many positions at its start are given. */
  append(ids: ArrayLike<number>, given: Uint8Array | number = 0): void {
    const start = this.offsets[this.size];
    const end = start + ids.length;
    if (end > this.stored.length) this.grow(end);
    this.stored.set(ids, start);
    if (typeof given === "number") this.flags.fill(1, start, start + given);
    else this.flags.set(given, start);
    this.offsets.push(end);
    this.counts.documents++;
    this.counts.tokens += ids.length;
  }

  private grow(needed: number): void {
    const size = Math.max(needed, Math.ceil(this.stored.length * 1.5));
    const stored = this.stored instanceof Uint16Array ? new Uint16Array(size) : new Int32Array(size);
    stored.set(this.stored);
    this.stored = stored;
    const flags = new Uint8Array(size);
    flags.set(this.flags);
    this.flags = flags;
  }

  ids(document: number, start = 0, end = this.length(document)): Ids {
    const offset = this.offsets[document];
    return this.stored.subarray(offset + start, offset + end);
  }

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

/** Tokenizes documents into memory, giving other work a turn now and then. */
export async function tokenizeDocuments(
  documents: Iterable<Document> | AsyncIterable<Document>,
  tokenizer: Tokenizer,
  layout: LayoutOptions = {},
): Promise<TokenCorpus> {
  const limits = layoutLimits(layout);
  const corpus = new TokenCorpus(tokenizer.vocabSize);
  const { counts } = corpus;
  const { pause } = takeTurns();
  for await (const document of documents) {
    const free = document.text !== undefined;
    const source = free ? null : tokenizer.encode(document.src ?? "");
    const target = tokenizer.encode((free ? document.text : document.trg) ?? "");
    const shape = shapeOf(source === null ? null : source.length, target.length, limits);
    const ids = layOut(source ?? plain, target, shape, tokenizer.special);
    counts.bytes += tokenizer.countBytes(ids);
    if (!free) counts.conditional++;
    if (shape.shortened) counts.shortened++;
    if (shape.unpadded) counts.unpadded++;
    corpus.append(ids, shape.given);
    await pause();
  }
  return corpus;
}
