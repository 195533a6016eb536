/**
 * @file Documents from files and folders: JSON Lines, plain text, source code, each of them possibly gzipped; token caches too, whose
 * texts are decoded. Streamed.
 */
import { createReadStream } from "node:fs";
import { basename, relative } from "node:path";
import { explainReadError, isSystemError, UserError } from "../errors.js";
import { type FileText, fileLines, fileText, MAX_TEXT_BYTES } from "./bytes.js";
import { CacheCorpus, openCaches } from "./cache/cache-corpus.js";
import { isShardName, isTokenCache, type PartName } from "./cache/manifest.js";
import { kindOfPath, walkFolder } from "./folders.js";
import { type Document, parseRecord } from "./records.js";
import { type TextRecord, TextRecorder } from "./text-record.js";

export type { Document } from "./records.js";

export interface ReadOptions {
  /**
   * What a record that cannot be used does: "stop" (default) throws a UserError that names file and line, "skip" counts it. A file that
   * the system fails to read is no such record: that is thrown.
   */
  readonly onBadRecord?: "stop" | "skip";
  /**
   * What one document is inside a folder: each text file ("file", default), or each folder ("folder"): the text files that stand
   * directly in it, in name order, each under a header line `=== path ===`. JSON Lines files in a folder are read as records.
   */
  readonly documentPer?: "file" | "folder";
  /** Take the `records` of the paths (default false). */
  readonly checksums?: boolean;
  /** Of a token cache: its training texts (default), or its validation texts where it has them. */
  readonly part?: PartName;
}

export interface ReadCounts {
  /** Documents yielded. */
  documents: number;
  /** Records left out because they could not be used (onBadRecord "skip"), truncated files included. */
  skippedRecords: number;
  /** Records and files without any text. */
  empty: number;
  /** Files in folders that are binary or not UTF-8. */
  skippedFiles: number;
}

const EXPECTED = 'expected a JSON object with "text" or with "src" and "trg"';
const MEND = "mend the line or pass --on-bad-record skip";

const READ_IN_FOLDERS =
  "; of a folder these are read: .jsonl and .ndjson files, record by record, and every other file of UTF-8 text (.txt, .md, source code ...) " +
  "as a document, each of them also gzipped (.gz), but nothing in node_modules or whose name begins with a dot";

const bareName = (path: string): string => path.toLowerCase().replace(/\.gz$/, "");
const isRecords = (path: string): boolean => /\.(jsonl|ndjson)$/.test(bareName(path));
const isJson = (path: string): boolean => bareName(path).endsWith(".json");

/** The documents of some paths. Iterate it (again, if need be); `counts` describes the latest iteration. */
export class DocumentReader implements AsyncIterable<Document> {
  readonly counts: ReadCounts = { documents: 0, skippedRecords: 0, empty: 0, skippedFiles: 0 };
  /** Bytes read from the disk so far. */
  bytesRead = 0;
  /** With `checksums`: what stood on the disk, path by path, as far as the latest iteration has come. */
  readonly records: TextRecord[] = [];
  private readonly checksums: boolean;
  private readonly part: PartName;
  private recorder = new TextRecorder();
  private readonly onBadRecord: "stop" | "skip";
  private readonly documentPer: "file" | "folder";

  constructor(
    readonly paths: readonly string[],
    options: ReadOptions = {},
  ) {
    this.onBadRecord = options.onBadRecord ?? "stop";
    this.documentPer = options.documentPer ?? "file";
    this.checksums = options.checksums ?? false;
    this.part = options.part ?? "train";
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Document> {
    if (this.paths.length === 0)
      throw new UserError("expected at least one file or folder to read documents from, got none");
    Object.assign(this.counts, { documents: 0, skippedRecords: 0, empty: 0, skippedFiles: 0 });
    this.bytesRead = 0;
    this.records.length = 0;
    for (const path of this.paths) {
      this.recorder = new TextRecorder();
      const before = { ...this.counts };
      if (await isTokenCache(path)) {
        yield* this.fromCache(path);
        continue;
      }
      const folder = (await kindOfPath(path)) === "folder";
      yield* folder ? this.fromFolder(path) : this.fromFile(path);
      if (this.counts.documents === before.documents)
        throw new UserError(
          `${path} holds no documents${this.leftOut(before)}${folder ? READ_IN_FOLDERS : ""}`,
        );
      if (this.checksums) this.records.push(this.recorder.record(path, folder));
    }
  }

  private readonly onRead = (chunk: Uint8Array): void => {
    this.bytesRead += chunk.length;
    if (this.checksums) this.recorder.add(chunk);
  };

  private leftOut(before: ReadCounts): string {
    const parts = [
      [this.counts.skippedRecords - before.skippedRecords, "broken records skipped"],
      [this.counts.empty - before.empty, "without text"],
      [this.counts.skippedFiles - before.skippedFiles, "files that are not UTF-8 text"],
    ].filter(([count]) => Number(count) > 0);
    return parts.length > 0 ? ` (${parts.map(([count, what]) => `${count} ${what}`).join(", ")})` : "";
  }

  /** A file the user named. `.json` is taken for JSON Lines here (many data sets call it so), for text inside a folder. */
  private async *fromFile(path: string): AsyncGenerator<Document> {
    if (isRecords(path) || isJson(path)) {
      yield* this.fromRecords(path);
      return;
    }
    const content = await this.textOf(path);
    if (content === null) return;
    if (content.kind === "text") {
      this.recorder.close(path);
      yield* this.found({ source: path, text: content.text });
      return;
    }
    this.bad(
      content.kind === "binary"
        ? `${path}: expected UTF-8 text, got binary data; give a .jsonl, .txt or .md file, a folder of text, or any of them with .gz`
        : `${path}: expected UTF-8 text, got another encoding; convert it (iconv -f latin1 -t utf-8) or pass --on-bad-record skip`,
    );
  }

  private async *fromCache(path: string): AsyncGenerator<Document> {
    const caches = await openCaches([path], this.part);
    const corpus = new CacheCorpus(caches);
    try {
      let number = 0;
      for (const texts of corpus.texts(caches.tokenizer))
        yield* this.found({ source: `${path}#${++number}`, ...texts });
    } finally {
      corpus.close();
    }
    this.bytesRead += caches.records[0].bytes;
    if (this.checksums) this.records.push(...caches.records);
  }

  /** @param name what the file is called in the record of its path */
  private async *fromRecords(path: string, name = path): AsyncGenerator<Document> {
    this.recorder.open();
    try {
      for await (const line of fileLines(path, this.onRead)) {
        if ("text" in line && line.text.trim() === "") continue;
        const source = `${path}:${line.line}`;
        const parsed = "text" in line ? parseRecord(line.text) : line;
        if ("got" in parsed) this.bad(`${source}: ${EXPECTED}, got ${parsed.got}; ${MEND}`);
        else yield* this.found({ source, ...parsed.fields });
      }
      this.recorder.close(name);
    } catch (error) {
      // A file cut short: what came before the cut is good, so "skip" goes on with the next file.
      this.skipOrThrow(error);
      await this.recordBytes(path, name);
    }
  }

  /** Checksum of a file that could not be read to its end as text: as it lies on the disk. */
  private async recordBytes(path: string, name: string): Promise<void> {
    if (!this.checksums) return;
    this.recorder.open();
    try {
      for await (const chunk of createReadStream(path)) this.recorder.add(chunk as Buffer);
    } catch (error) {
      throw explainReadError(error, path);
    }
    this.recorder.close(name);
  }

  /** A whole text file; null when it could not be read and onBadRecord is "skip". */
  private async textOf(path: string, name = path): Promise<FileText | null> {
    this.recorder.open();
    try {
      return await fileText(path, this.onRead);
    } catch (error) {
      this.skipOrThrow(error);
      await this.recordBytes(path, name);
      return null;
    }
  }

  private async *fromFolder(root: string): AsyncGenerator<Document> {
    for await (const { folder, files } of walkFolder(root)) {
      const shard = files.find((file) => isShardName(basename(file)));
      if (shard)
        throw new UserError(
          `${shard}: expected texts, got a shard of a token cache. Where ${folder} is a whole cache, name it by itself; ` +
            "where its manifest.json is gone or empty, make the cache again (npx moe-diffuseq prepare with an empty --out).",
        );
      const parts: string[] = [];
      let size = 0;
      for (const file of files) {
        const name = relative(root, file).replaceAll("\\", "/");
        if (isRecords(file)) {
          yield* this.fromRecords(file, name);
          continue;
        }
        const content = await this.textOf(file, name);
        if (content === null) continue;
        if (content.kind === "text") this.recorder.close(name);
        if (content.kind !== "text") this.counts.skippedFiles++;
        else if (this.documentPer === "file") yield* this.found({ source: file, text: content.text });
        else if (content.text.trim() === "") this.counts.empty++;
        else if (size <= MAX_TEXT_BYTES)
          size += parts[parts.push(`=== ${name} ===\n${content.text}`) - 1].length;
      }
      if (size > MAX_TEXT_BYTES) {
        this.bad(
          `${folder}: expected at most ${MAX_TEXT_BYTES} characters of text in a folder that is one document, got more; ` +
            "split the folder, make each file a document (--document-per file) or pass --on-bad-record skip",
        );
        continue;
      }
      const joined = parts.map((part) => (part.endsWith("\n") ? part : `${part}\n`)).join("\n");
      if (parts.length > 0) yield* this.found({ source: folder, text: joined });
    }
  }

  private *found(document: Document): Generator<Document> {
    if ((document.text ?? `${document.src}${document.trg}`).trim() === "") {
      this.counts.empty++;
      return;
    }
    this.counts.documents++;
    yield document;
  }

  private bad(message: string): void {
    this.skipOrThrow(new UserError(message));
  }

  private skipOrThrow(error: unknown): void {
    // Skipped, what a failing disk holds would be missing and nobody the wiser.
    if (this.onBadRecord === "stop" || !(error instanceof UserError) || isSystemError(error)) throw error;
    this.counts.skippedRecords++;
  }
}

/**
 * Reads documents from files and folders, in the order given; folders in name order.
 * @param paths `.jsonl`/`.ndjson` (also `.json`, one object a line), text files, folders; each file may be gzipped (`.gz`).
 * @throws UserError (while iterating) for a missing or unreadable path, a path without documents, and broken records.
 */
export const readDocuments = (paths: readonly string[], options?: ReadOptions): DocumentReader =>
  new DocumentReader(paths, options);
