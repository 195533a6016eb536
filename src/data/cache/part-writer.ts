/**
 * @file Writes the shards of one part of a token cache: documents come in as a stream, those of whole shards are passed over, the others
 * are tokenized ahead by the encoder and put down in their order.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { UserError } from "../../errors.js";
import { writeFileAtomic } from "../../hub/durable-file.js";
import type { FolderLock } from "../../hub/folder-lock.js";
import type { DocumentReader } from "../documents.js";
import { embeddedCorpus } from "../embedded.js";
import type { Document } from "../records.js";
import { DIGEST_BYTES, digestOf, type Encoder, encodeInOrder, type Parts, partsOf } from "./encode.js";
import { type CachePart, type PartName, type ShardRecord, shardName } from "./manifest.js";
import { ShardBuilder } from "./shard.js";

/** Where documents come from. */
export type DocumentSource = AsyncIterable<Document> &
  Pick<DocumentReader, "counts" | "records" | "bytesRead">;

/** The embedded corpus, read as files are. */
export const embeddedSource = (name: PartName): DocumentSource => ({
  counts: { documents: 0, skippedRecords: 0, empty: 0, skippedFiles: 0 },
  records: [],
  bytesRead: 0,
  async *[Symbol.asyncIterator]() {
    yield* embeddedCorpus(name === "train" ? "train" : "validation");
  },
});

export interface PartJob {
  readonly out: string;
  readonly name: PartName;
  /** Its shards are added to, or replaced where they were damaged. */
  readonly part: CachePart;
  /** Which of its shards are whole on the disk. */
  readonly whole: readonly boolean[];
  readonly source: DocumentSource;
  readonly encoder: Encoder;
  readonly idBytes: 2 | 4;
  /** Bytes of ids that make a shard full. */
  readonly shardBytes: number;
  readonly signal?: AbortSignal;
  /** The cache's. */
  readonly lock: Pick<FolderLock, "check">;
  /** Saves the manifest; called when a shard has been written. */
  readonly save: () => Promise<void>;
  /** Told of every batch put down. */
  readonly onBatch: (tokens: number, textBytes: number) => void;
  /** What is thrown when documents are not those of the shards that are there. */
  readonly changed: () => UserError;
}

interface Batch {
  /** Number of its first document. */
  first: number;
  documents: Parts[];
}

/** UTF-16 units of text handed to a thread at a time, and no more than a shard has bytes. */
const BATCH_CHARACTERS = 1 << 19;

export class PartWriter {
  private readonly builder: ShardBuilder;
  /** Number of the shard that is being written, and of the next document. */
  private shard = 0;
  private document = 0;

  constructor(private readonly job: PartJob) {
    this.builder = new ShardBuilder(job.idBytes, job.shardBytes);
  }

  async write(): Promise<void> {
    const { job, builder } = this;
    for await (const { batch, encoded } of encodeInOrder(this.missing([...job.part.shards]), job.encoder)) {
      job.signal?.throwIfAborted();
      let at = 0;
      let textBytes = 0;
      for (let d = 0; d < batch.documents.length; d++) {
        this.passWhole();
        if (this.document++ !== batch.first + d) throw job.changed();
        const end = at + Math.max(0, encoded.source[d]) + encoded.target[d];
        const digest = encoded.digests.subarray(d * DIGEST_BYTES, (d + 1) * DIGEST_BYTES);
        builder.append(encoded.ids.subarray(at, end), encoded.source[d], encoded.textBytes[d], digest);
        textBytes += encoded.textBytes[d];
        at = end;
        if (builder.full) await this.writeShard();
      }
      job.onBatch(at, textBytes);
    }
    this.passWhole();
    if (builder.documents > 0) await this.writeShard();
    if (this.shard < job.part.shards.length) throw job.changed();
  }

  /** Between two shards: goes on to the next that is missing. */
  private passWhole(): void {
    if (this.builder.documents > 0) return;
    const { part, whole } = this.job;
    while (whole[this.shard]) this.document += part.shards[this.shard++].documents;
  }

  private async writeShard(): Promise<void> {
    const { out, name, part, lock, save, changed } = this.job;
    const file = shardName(name, this.shard);
    const { chunks, record } = this.builder.take();
    const known: ShardRecord | undefined = part.shards[this.shard];
    if (known && known.texts !== record.texts) throw changed();
    lock.check();
    const written = await writeFileAtomic(join(out, file), chunks);
    part.shards[this.shard++] = { file, ...written, ...record };
    await save();
  }

  /** The documents of shards that are missing or damaged, in batches; the texts of the others are held against their checksums. */
  private async *missing(shards: readonly ShardRecord[]): AsyncGenerator<Batch> {
    const { source, whole, shardBytes, signal, changed } = this.job;
    const most = Math.min(BATCH_CHARACTERS, shardBytes);
    let texts = createHash("sha256");
    let shard = 0;
    let inShard = 0;
    let number = 0;
    let characters = 0;
    let batch: Batch = { first: 0, documents: [] };
    for await (const document of source) {
      signal?.throwIfAborted();
      const parts = partsOf(document);
      if (whole[shard]) texts.update(digestOf(parts));
      else {
        if (batch.documents.length === 0) batch.first = number;
        batch.documents.push(parts);
        characters += parts.reduce((sum, part) => sum + part.length, 0);
      }
      number++;
      const ends = ++inShard === shards[shard]?.documents;
      if (ends) {
        if (whole[shard] && texts.digest("hex") !== shards[shard].texts) throw changed();
        texts = createHash("sha256");
        shard++;
        inShard = 0;
      }
      if (batch.documents.length > 0 && (ends || characters >= most)) {
        yield batch;
        batch = { first: number, documents: [] };
        characters = 0;
      }
    }
    if (shard < shards.length) throw changed();
    if (batch.documents.length > 0) yield batch;
  }
}
