/**
 * @file Any corpus into a token cache: read as a stream, tokenized by some threads, written shard by shard.
 *
 * Where a shard ends depends on its own tokens alone, so the cache does not depend on threads, batches or interruptions. What a killed
 * command leaves is a manifest of the shards that are whole; the same command reads the texts again but tokenizes only what is missing
 * or damaged, and holds the texts of the others against their checksums.
 */
import { readdir } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { UserError } from "../../errors.js";
import { damageOfFile, isTemporary, makeFolder, removeTemporaryFiles } from "../../hub/durable-file.js";
import { type FolderLock, isLockFile, lockFolder } from "../../hub/folder-lock.js";
import { readDocuments } from "../documents.js";
import { refuseInside, sizeOfPaths, stampOfPaths } from "../folders.js";
import type { TextRecord } from "../text-record.js";
import { Tokenizer } from "../tokenizer.js";
import { fingerprintOf } from "../tokenizer-fingerprint.js";
import { createEncoder, type Encoder, partsOf } from "./encode.js";
import {
  type FoundManifest,
  inspectManifest,
  type Manifest,
  manifestPath,
  newManifest,
  type PartName,
  type PrepareRequest,
  prepareCommand,
  refuseDamaged,
  writeManifest,
} from "./manifest.js";
import { type DocumentSource, embeddedSource, PartWriter } from "./part-writer.js";
import { idBytesOf } from "./shard.js";

export interface PrepareOptions {
  /** Files and folders of texts (or other token caches) to train on. None: the embedded corpus with its own split. */
  readonly data: readonly string[];
  /** The same to validate on (default: none; a share of the documents is held out when a run begins). */
  readonly valid?: readonly string[] | undefined;
  /** The cache's folder: new, empty, or what an earlier command with the same texts has left. */
  readonly out: string;
  /** A tokenizer.json. Give this or `vocabSize`. */
  readonly tokenizer?: string | null | undefined;
  /** Train a vocabulary of so many tokens on `data`. */
  readonly vocabSize?: number | null | undefined;
  readonly onBadRecord?: "stop" | "skip" | undefined;
  readonly documentPer?: "file" | "folder" | undefined;
  /** Threads that tokenize (default 1). */
  readonly threads?: number | undefined;
  /** Bytes of ids that make a shard full (default: those of the cache that is there, else 8 MiB). Another size is another cache. */
  readonly shardBytes?: number | undefined;
  /** Aborting ends the work soon; what is written stays. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: PrepareProgress) => void) | undefined;
}

export interface PrepareProgress {
  readonly what: "checking" | "training a vocabulary" | "tokenizing";
  /** Bytes on the disk read in this phase, and in all. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** Tokens and UTF-8 bytes of text tokenized by this command. */
  readonly tokens: number;
  readonly textBytes: number;
}

/** Plain JSON. */
export interface PrepareSummary {
  readonly out: string;
  /** Stopped by the signal: `command` continues. */
  readonly interrupted: boolean;
  readonly command: string;
  readonly vocabSize: number | null;
  readonly train: PartSummary;
  readonly valid: PartSummary;
  /** Shards written by this command; the others were there and whole. */
  readonly shardsWritten: number;
  /** UTF-8 bytes of text tokenized by this command, and seconds spent on them. */
  readonly textBytesTokenized: number;
  readonly secondsTokenizing: number;
}

export interface PartSummary {
  readonly documents: number;
  readonly conditional: number;
  readonly tokens: number;
  readonly textBytes: number;
  readonly shards: number;
  readonly skippedRecords: number;
}

const SHARD_BYTES = 8 << 20;
/** Distinct words held while a vocabulary is learned. */
const MAX_WORDS = 1 << 17;

/** What is asked for; shardBytes null: as the cache has it. */
type Asked = Omit<PrepareRequest, "shardBytes"> & { readonly shardBytes: number | null };

/**
 * Writes a token cache, or completes or mends one.
 * @throws UserError for texts that cannot be used, a folder that holds something else, texts or a tokenizer that have changed since the
 * cache was begun, and a full disk (finished shards stay)
 */
export async function prepareCache(options: PrepareOptions): Promise<PrepareSummary> {
  const asked = askedOf(options);
  await refuseInside(options.out, [...asked.data, ...asked.valid]);
  await makeFolder(options.out);
  const lock = await lockFolder(options.out);
  try {
    const job = new PrepareJob(options, await openCache(options.out, asked), lock);
    let interrupted = false;
    try {
      await job.run();
    } catch (error) {
      if (!options.signal?.aborted || error !== options.signal.reason) throw error;
      interrupted = true;
    }
    return job.summary(interrupted);
  } finally {
    await lock.release();
  }
}

function askedOf(options: PrepareOptions): Asked {
  const { data, valid = [], tokenizer = null, vocabSize = null } = options;
  if ((tokenizer === null) === (vocabSize === null))
    throw new UserError(
      "expected either a tokenizer (--tokenizer FILE) or the size of a vocabulary to train (--vocab-size N), " +
        `got ${tokenizer === null ? "neither" : "both"}`,
    );
  return {
    data: [...data],
    valid: [...valid],
    tokenizer,
    vocabSize,
    onBadRecord: options.onBadRecord ?? "stop",
    documentPer: options.documentPer ?? "file",
    shardBytes: options.shardBytes ?? null,
  };
}

/** The manifest to go on with. @throws UserError where the folder holds something else, or a cache that was asked for otherwise */
async function openCache(out: string, asked: Asked): Promise<Manifest> {
  const found = await inspectManifest(out);
  const names = await readdir(out);
  if (!found && names.some((name) => !isTemporary(name) && !isLockFile(name)))
    throw new UserError(`${out} holds other things; give --out a new or empty folder.`);
  const own = found && (found.damage === null ? found.manifest.request : found.request);
  const request = { ...asked, shardBytes: asked.shardBytes ?? own?.shardBytes ?? SHARD_BYTES };
  // Made again where it was made by this very command: what another one made is not written over.
  if (found && !isDeepStrictEqual(own, request)) throw refuseOther(out, found, request);
  await removeTemporaryFiles(out);
  return found?.manifest ?? newManifest(request);
}

function refuseOther(out: string, found: FoundManifest, request: PrepareRequest): UserError {
  if (found.damage !== null) return refuseDamaged(out, found);
  const own = found.manifest.request;
  // No command says how large a shard is.
  if (isDeepStrictEqual({ ...own, shardBytes: request.shardBytes }, request))
    return new UserError(
      `${out} holds a token cache with shards of ${own.shardBytes} bytes, got shardBytes ${request.shardBytes}; ` +
        "leave shardBytes out to complete or mend it, or give another out.",
    );
  return new UserError(
    `${out} holds a token cache that was made with\n  ${prepareCommand(out, own)}\n` +
      "Use that command to complete or mend it, or give another --out.",
  );
}

class PrepareJob {
  private written = 0;
  private tokens = 0;
  private textBytes = 0;
  private seconds = 0;

  constructor(
    private readonly options: PrepareOptions,
    private readonly manifest: Manifest,
    private readonly lock: FolderLock,
  ) {}

  private get request(): PrepareRequest {
    return this.manifest.request;
  }

  async run(): Promise<void> {
    const { manifest } = this;
    const tokenizer = await this.tokenizer();
    const encoder = createEncoder(tokenizer, this.options.threads ?? 1);
    try {
      await this.writePart("train", tokenizer, encoder);
      if (this.request.valid.length > 0 || this.request.data.length === 0)
        await this.writePart("valid", tokenizer, encoder);
    } finally {
      await encoder.close();
    }
    if (manifest.complete) return;
    manifest.complete = true;
    await this.save();
  }

  private async save(): Promise<void> {
    this.lock.check();
    await writeManifest(this.options.out, this.manifest);
  }

  summary(interrupted: boolean): PrepareSummary {
    const { out } = this.options;
    const { parts, tokenizer } = this.manifest;
    return {
      out,
      interrupted,
      command: prepareCommand(out, this.request),
      vocabSize: tokenizer?.vocabSize ?? null,
      train: summaryOf(parts.train),
      valid: summaryOf(parts.valid),
      shardsWritten: this.written,
      textBytesTokenized: this.textBytes,
      secondsTokenizing: this.seconds,
    };
  }

  private pathsOf(name: PartName): readonly string[] {
    return name === "train" ? this.request.data : this.request.valid;
  }

  private read(name: PartName): DocumentSource {
    const { onBadRecord, documentPer } = this.request;
    const paths = this.pathsOf(name);
    if (paths.length === 0) return embeddedSource(name);
    return readDocuments(paths, { onBadRecord, documentPer, checksums: true, part: name });
  }

  private progress(what: PrepareProgress["what"], bytes: number, totalBytes: number): void {
    const { tokens, textBytes } = this;
    this.options.onProgress?.({ what, bytes, totalBytes, tokens, textBytes });
  }

  /** The cache's own tokenizer, which is there from the first shard on. */
  private async tokenizer(): Promise<Tokenizer> {
    const { manifest, request, options } = this;
    const kept = manifest.tokenizer
      ? await Tokenizer.load(options.out).catch((error: unknown) => {
          if (error instanceof UserError) return null; // damaged: written again below
          throw error;
        })
      : null;
    const isOwn = (tokenizer: Tokenizer) => manifest.tokenizer?.sha256 === fingerprintOf(tokenizer);
    const given = request.tokenizer === null ? null : await Tokenizer.load(request.tokenizer);
    if (given && manifest.tokenizer && !isOwn(given))
      throw new UserError(
        `${request.tokenizer} is not the tokenizer ${options.out} was begun with; give that one, or another --out.`,
      );
    if (kept && isOwn(kept)) return kept;
    const tokenizer = given ?? (await this.trainTokenizer());
    if (manifest.tokenizer && !isOwn(tokenizer)) throw this.changed("train");
    // First that this is a cache: a folder with nothing but a tokenizer would be refused by the next call.
    await this.save();
    await tokenizer.save(options.out);
    manifest.tokenizer = { sha256: fingerprintOf(tokenizer), vocabSize: tokenizer.vocabSize };
    await this.save();
    return tokenizer;
  }

  private async trainTokenizer(): Promise<Tokenizer> {
    const { data, vocabSize } = this.request;
    const { signal } = this.options;
    const reader = this.read("train");
    const total = await sizeOfPaths(data);
    const progress = () => this.progress("training a vocabulary", reader.bytesRead, total);
    async function* texts(): AsyncGenerator<string> {
      for await (const document of reader) {
        yield* partsOf(document);
        progress();
      }
    }
    return await Tokenizer.train(texts(), { vocabSize: vocabSize!, maxWords: MAX_WORDS, signal });
  }

  private async writePart(name: PartName, tokenizer: Tokenizer, encoder: Encoder): Promise<void> {
    const { out, signal } = this.options;
    const part = this.manifest.parts[name];
    const total = await sizeOfPaths(this.pathsOf(name));
    // Taken before the files are read, so that what is written meanwhile is noticed the next time.
    const stamp = await stampOfPaths(this.pathsOf(name));
    if (part.texts && stamp !== this.manifest.stamps[name]) {
      await this.checkTexts(name, part.texts.corpora, total);
      this.manifest.stamps[name] = stamp;
      await this.save();
    }
    const whole: boolean[] = [];
    for (const record of part.shards) {
      signal?.throwIfAborted();
      this.progress("checking", 0, total);
      whole.push((await damageOfFile(out, record.file, record)) === null);
    }
    if (part.texts && !whole.includes(false)) return;
    const began = performance.now();
    const source = this.read(name);
    await new PartWriter({
      out,
      name,
      part,
      whole,
      source,
      encoder,
      idBytes: idBytesOf(tokenizer.vocabSize),
      shardBytes: this.request.shardBytes,
      signal,
      lock: this.lock,
      save: () => {
        this.written++;
        return this.save();
      },
      onBatch: (tokens, textBytes) => {
        this.tokens += tokens;
        this.textBytes += textBytes;
        this.progress("tokenizing", source.bytesRead, total);
      },
      changed: () => this.changed(name),
    }).write();
    const { skippedRecords, empty, skippedFiles } = source.counts;
    part.texts = { corpora: [...source.records], skippedRecords, empty, skippedFiles };
    this.manifest.stamps[name] = stamp;
    this.seconds += (performance.now() - began) / 1000;
    await this.save();
  }

  /** Reads the texts of a finished part again. @throws UserError unless they are what they were */
  private async checkTexts(name: PartName, known: readonly TextRecord[], total: number): Promise<void> {
    const source = this.read(name);
    for await (const _ of source) {
      this.options.signal?.throwIfAborted();
      this.progress("checking", source.bytesRead, total);
    }
    if (!isDeepStrictEqual(source.records, known)) throw this.changed(name);
  }

  private changed(name: PartName): UserError {
    const { out } = this.options;
    return new UserError(
      `The texts have changed since ${out} was begun (${manifestPath(out)} says otherwise of ${this.pathsOf(name).join(", ")}). ` +
        "Bring back the texts as they were, or make a new cache in another --out.",
    );
  }
}

function summaryOf({ shards, texts }: Manifest["parts"]["train"]): PartSummary {
  const sum = (field: "documents" | "conditional" | "tokens" | "textBytes") =>
    shards.reduce((total, record) => total + record[field], 0);
  return {
    documents: sum("documents"),
    conditional: sum("conditional"),
    tokens: sum("tokens"),
    textBytes: sum("textBytes"),
    shards: shards.length,
    skippedRecords: texts?.skippedRecords ?? 0,
  };
}
