/**
 * @file Documents of token caches as a corpus: read from the disk by position when they are wanted, laid out as training wants them.
 * Memory does not grow with the corpus.
 */
import { createHash } from "node:crypto";
import { UserError } from "../../errors.js";
import type { Corpus, Ids } from "../corpus.js";
import { type DocumentShape, type LayoutOptions, layOut, layoutLimits, shapeOf } from "../layout.js";
import type { Document } from "../records.js";
import type { TextRecord } from "../text-record.js";
import { Tokenizer } from "../tokenizer.js";
import { fingerprintOf } from "../tokenizer-fingerprint.js";
import { type CachePart, type Manifest, manifestPath, type PartName, readManifest } from "./manifest.js";
import { idBytesOf } from "./shard.js";
import { type CacheShard, ShardReader } from "./shard-reader.js";

/** Token caches that are read one after the other, and what they have in common. */
export interface OpenedCaches {
  readonly tokenizer: Tokenizer;
  readonly shards: readonly CacheShard[];
  /** Of each cache: its path, shards, their bytes, and a checksum of these and of the tokenizer: not of where its texts lay. */
  readonly records: readonly TextRecord[];
  /** Broken records that were left out when the caches were made. */
  readonly skippedRecords: number;
  /** Whether each of the caches has validation texts of its own. */
  readonly hasValidTexts: boolean;
}

/**
 * Opens caches made with one tokenizer.
 * @param part "valid": the validation texts of a cache that has them, else what it has
 * @throws UserError when one is damaged, not complete, or made with another tokenizer than the first
 */
export async function openCaches(paths: readonly string[], part: PartName): Promise<OpenedCaches> {
  const manifests = await Promise.all(paths.map((path) => readManifest(path)));
  const [first] = manifests;
  const tokenizer = await Tokenizer.load(paths[0]);
  refuseOther(paths[0], first, tokenizer, `${paths[0]}/tokenizer.json`);
  for (const [i, manifest] of manifests.entries()) refuseOther(paths[i], manifest, tokenizer, paths[0]);
  const idBytes = idBytesOf(tokenizer.vocabSize);
  const partsOf = (manifest: Manifest) =>
    part === "valid" && manifest.parts.valid.shards.length > 0 ? manifest.parts.valid : manifest.parts.train;
  const shards = manifests.flatMap((manifest, i) =>
    partsOf(manifest).shards.map((record) => ({
      cache: paths[i],
      record,
      request: manifest.request,
      idBytes,
    })),
  );
  const records = manifests.map((manifest, i) => ({
    path: paths[i],
    files: partsOf(manifest).shards.length,
    bytes: partsOf(manifest).shards.reduce((sum, { bytes }) => sum + bytes, 0),
    sha256: checksumOf(manifest, partsOf(manifest)),
  }));
  const skippedRecords = manifests.reduce(
    (sum, manifest) => sum + (partsOf(manifest).texts?.skippedRecords ?? 0),
    0,
  );
  const hasValidTexts = manifests.every(({ parts }) => parts.valid.shards.length > 0);
  return { tokenizer, shards, records, skippedRecords, hasValidTexts };
}

/** Checksum of the tokenizer and of the shards of a part. */
const checksumOf = ({ tokenizer }: Manifest, { shards }: CachePart): string => {
  const hash = createHash("sha256").update(`${tokenizer?.sha256}`);
  for (const { sha256 } of shards) hash.update(sha256);
  return hash.digest("hex");
};

/** @param whose the tokenizer's owner, named in the message. @throws UserError unless the cache was made with this tokenizer */
export async function checkTokenizer(cache: string, wanted: Tokenizer, whose: string): Promise<void> {
  refuseOther(cache, await readManifest(cache), wanted, whose);
}

function refuseOther(cache: string, { tokenizer }: Manifest, wanted: Tokenizer, whose: string): void {
  const sha256 = fingerprintOf(wanted);
  if (tokenizer?.sha256 === sha256) return;
  throw new UserError(
    `${cache} was made with another tokenizer than ${whose}: its ${manifestPath(cache)} says ${tokenizer?.vocabSize} tokens, ` +
      `${tokenizer?.sha256.slice(0, 12)}, but ${whose} has ${wanted.vocabSize} tokens, ${sha256.slice(0, 12)}. ` +
      "Prepare the texts with that tokenizer (--tokenizer FILE, another --out).",
  );
}

/** What training asks of a corpus, answered from the disk. */
export class CacheCorpus implements Corpus {
  readonly vocabSize: number;
  readonly size: number;
  readonly tokens: number;
  /** Pairs that are cut to `maxLength`. */
  readonly shortened: number;
  /** Documents already longer than `padTargets`, or cut, so left as they are. */
  readonly unpadded: number;
  private readonly reader: ShardReader;
  private readonly limits: ReturnType<typeof layoutLimits>;
  /** Number of the first document of each shard, and of all documents. */
  private readonly firsts: number[] = [0];
  private readonly special: Tokenizer["special"];
  private lastShard = 0;

  constructor({ tokenizer, shards }: OpenedCaches, layout: LayoutOptions = {}) {
    this.vocabSize = tokenizer.vocabSize;
    this.special = tokenizer.special;
    this.limits = layoutLimits(layout);
    this.reader = new ShardReader(shards);
    for (const { record } of shards) this.firsts.push(this.firsts[this.firsts.length - 1] + record.documents);
    this.size = this.firsts[this.firsts.length - 1];
    let tokens = 0;
    let shortened = 0;
    let unpadded = 0;
    try {
      for (let document = 0; document < this.size; document++) {
        const { shape } = this.find(document);
        tokens += shape.length;
        if (shape.shortened) shortened++;
        if (shape.unpadded) unpadded++;
      }
    } catch (error) {
      this.close(); // nobody else can
      throw error;
    }
    this.tokens = tokens;
    this.shortened = shortened;
    this.unpadded = unpadded;
  }

  length(document: number): number {
    return this.find(document).shape.length;
  }

  conditional(document: number): boolean {
    return this.find(document).shape.source !== null;
  }

  ids(document: number, start = 0, end = this.length(document)): Ids {
    const { shard, at, source, shape } = this.find(document);
    if (source >= 0) return this.pair(shard, at, source, shape).subarray(start, end);
    // Free text may be as long as a book: only the part is read.
    const ids = new Int32Array(end - start).fill(this.special.pad);
    const { target } = shape;
    if (start < target) ids.set(this.reader.ids(shard, at + start, at + Math.min(end, target)));
    if (target >= start && target < end) ids[target - start] = this.special.sep;
    return ids;
  }

  given(document: number, start = 0, end = this.length(document)): Uint8Array {
    const { shape } = this.find(document);
    const flags = new Uint8Array(end - start);
    if (shape.given > start) flags.fill(1, 0, shape.given - start);
    return flags;
  }

  /** The texts themselves, one after the other. */
  *texts(tokenizer: Tokenizer): Generator<Omit<Document, "source">> {
    for (let document = 0; document < this.size; document++) {
      const { shard, at, end, source } = this.find(document);
      const decode = (from: number, to: number) => tokenizer.decode(this.reader.ids(shard, from, to));
      if (source < 0) yield { text: decode(at, end) };
      else yield { src: decode(at, at + source), trg: decode(at + source, end) };
    }
  }

  /** Closes the file that is open; reading again opens it. */
  close(): void {
    this.reader.close();
  }

  private pair(shard: number, at: number, source: number, shape: DocumentShape): Int32Array {
    const all = this.reader.ids(shard, at, at + source + shape.target);
    return layOut(all, all.subarray(source), shape, this.special);
  }

  /** Where a document lies, tokens of its source (-1: free text), and how it is laid out. */
  private find(document: number) {
    const shard = this.shardOf(document);
    const { start, end, source } = this.reader.entry(shard, document - this.firsts[shard]);
    const target = end - start - Math.max(0, source);
    return { shard, at: start, end, source, shape: shapeOf(source < 0 ? null : source, target, this.limits) };
  }

  private shardOf(document: number): number {
    const { firsts, lastShard } = this;
    if (document >= firsts[lastShard] && document < firsts[lastShard + 1]) return lastShard;
    let low = 0;
    let high = this.firsts.length - 1;
    while (low + 1 < high) {
      const middle = (low + high) >>> 1;
      if (this.firsts[middle] <= document) low = middle;
      else high = middle;
    }
    this.lastShard = low;
    return low;
  }
}
