/** @file Texts to ids, a batch at a time: on this thread, or shared among worker threads. Who encodes a batch changes nothing in it. */
import { createHash } from "node:crypto";
import { Worker } from "node:worker_threads";
import type { Document } from "../records.js";
import type { Tokenizer } from "../tokenizer.js";
import { idBytesOf, type ShardIds } from "./shard.js";

/** The texts of a document: [text], or [src, trg]. */
export type Parts = readonly [string] | readonly [string, string];

/** Documents end to end. */
export interface EncodedBatch {
  readonly ids: ShardIds;
  /** Tokens of each document's source, -1 for free text, and of its target. [documents] */
  readonly source: Int32Array;
  readonly target: Int32Array;
  /** UTF-8 bytes of each document's text as its tokens stand for them. [documents] */
  readonly textBytes: Uint32Array;
  /** SHA-256 of each document's text. [documents * 32] */
  readonly digests: Uint8Array;
}

export const DIGEST_BYTES = 32;

export const partsOf = ({ text, src, trg }: Document): Parts =>
  text === undefined ? [src ?? "", trg ?? ""] : [text];

/** Tells one document from another: SHA-256 of its parts, each behind its length. */
export function digestOf(parts: Parts): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length} `).update(part);
  return hash.digest();
}

export function encodeBatch(tokenizer: Tokenizer, documents: readonly Parts[]): EncodedBatch {
  const count = documents.length;
  const source = new Int32Array(count).fill(-1);
  const target = new Int32Array(count);
  const textBytes = new Uint32Array(count);
  const digests = new Uint8Array(count * DIGEST_BYTES);
  const encoded = documents.map((parts, i) => {
    digests.set(digestOf(parts), i * DIGEST_BYTES);
    const ids = parts.map((part) => tokenizer.encode(part));
    if (ids.length === 2) source[i] = ids[0].length;
    target[i] = ids[ids.length - 1].length;
    textBytes[i] = ids.reduce((sum, part) => sum + tokenizer.countBytes(part), 0);
    return ids;
  });
  const total = encoded.flat().reduce((sum, part) => sum + part.length, 0);
  const ids = idBytesOf(tokenizer.vocabSize) === 2 ? new Uint16Array(total) : new Int32Array(total);
  let at = 0;
  for (const part of encoded.flat()) {
    ids.set(part, at);
    at += part.length;
  }
  return { ids, source, target, textBytes, digests };
}

export interface Encoder {
  /** Batches that keep every thread busy. */
  readonly ahead: number;
  encode(documents: readonly Parts[]): Promise<EncodedBatch>;
  close(): Promise<void>;
}

/** An encoder on `threads` worker threads; 1: on this thread. */
export const createEncoder = (tokenizer: Tokenizer, threads: number): Encoder =>
  threads > 1 ? new EncoderPool(tokenizer, threads) : new LocalEncoder(tokenizer);

class LocalEncoder implements Encoder {
  readonly ahead = 1;
  constructor(private readonly tokenizer: Tokenizer) {}

  async encode(documents: readonly Parts[]): Promise<EncodedBatch> {
    await new Promise<void>((resolve) => setTimeout(resolve)); // other work (Ctrl-C) gets a turn
    return encodeBatch(this.tokenizer, documents);
  }
  async close(): Promise<void> {}
}

/** The worker's file, beside this one: compiled when this one is, otherwise the source with what it needs to run. */
const entry = import.meta.url.endsWith(".ts") ? "./encode-worker-from-source.mjs" : "./encode-worker.js";

interface Waiting {
  resolve(batch: EncodedBatch): void;
  reject(error: Error): void;
}

class EncoderPool implements Encoder {
  readonly ahead: number;
  /** Each worker answers in the order it was asked. */
  private readonly workers: { worker: Worker; waiting: Waiting[] }[];
  /** Why one of them has ended. Nothing more is encoded then. */
  private failed: Error | null = null;

  constructor(tokenizer: Tokenizer, threads: number) {
    this.ahead = 2 * threads;
    this.workers = Array.from({ length: threads }, () => {
      const worker = new Worker(new URL(entry, import.meta.url), {
        workerData: tokenizer.toJSON(),
        execArgv: [],
      });
      const waiting: Waiting[] = [];
      worker.on("message", (batch: EncodedBatch) => waiting.shift()?.resolve(batch));
      const fail = (error: Error) => {
        this.failed ??= error;
        for (const { reject } of waiting.splice(0)) reject(error);
      };
      worker.on("error", fail);
      worker.on("exit", (code) => fail(new Error(`a tokenizing thread ended with code ${code}`)));
      return { worker, waiting };
    });
  }

  encode(documents: readonly Parts[]): Promise<EncodedBatch> {
    const { worker, waiting } = this.workers.reduce((a, b) => (b.waiting.length < a.waiting.length ? b : a));
    return new Promise((resolve, reject) => {
      if (this.failed) return reject(this.failed);
      waiting.push({ resolve, reject });
      worker.postMessage(documents);
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.workers.map(({ worker }) => worker.terminate()));
  }
}

/** UTF-16 units of text that are read ahead; of batches that are larger than that, one. */
const AHEAD_CHARACTERS = 1 << 26;

const charactersOf = (documents: readonly Parts[]): number =>
  documents.reduce((sum, parts) => parts.reduce((own, part) => own + part.length, sum), 0);

/** Encodes batches as they come, some ahead, and hands them on in their order. */
export async function* encodeInOrder<T extends { readonly documents: readonly Parts[] }>(
  batches: AsyncIterable<T>,
  encoder: Encoder,
): AsyncGenerator<{ batch: T; encoded: EncodedBatch }> {
  const queue: { batch: T; characters: number; encoded: Promise<EncodedBatch> }[] = [];
  let characters = 0;
  const iterator = batches[Symbol.asyncIterator]();
  try {
    for (let done = false; !done || queue.length > 0; ) {
      while (!done && queue.length < encoder.ahead && characters < AHEAD_CHARACTERS) {
        const next = await iterator.next();
        if (next.done) done = true;
        else {
          const encoded = encoder.encode(next.value.documents);
          encoded.catch(() => {}); // reported when its turn comes
          const own = charactersOf(next.value.documents);
          characters += own;
          queue.push({ batch: next.value, characters: own, encoded });
        }
      }
      const first = queue.shift();
      if (!first) continue;
      yield { batch: first.batch, encoded: await first.encoded };
      characters -= first.characters;
    }
  } finally {
    await iterator.return?.();
  }
}
