/**
 * @file Reads the shards of a token cache by position. One file is open at a time; a few kilobytes are held. Nothing unchecked is handed
 * out: the index of a shard is held against its checksum when it is first read, the whole file when its ids are; and again when the
 * file has changed since.
 */
import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { explainReadError, UserError } from "../../errors.js";
import { type Manifest, prepareCommand, type ShardRecord } from "./manifest.js";
import { ENTRY_BYTES, HEADER_BYTES, headerDamage, idsOf, indexBytes, type ShardIds } from "./shard.js";

/** A shard and the cache it belongs to. */
export interface CacheShard {
  readonly cache: string;
  readonly record: ShardRecord;
  readonly request: Manifest["request"];
  readonly idBytes: 2 | 4;
}

/** Entries and bytes of ids that are read at once, where reading goes forwards. */
const WINDOW_ENTRIES = 512;
const WINDOW_BYTES = 1 << 18;
const HASH_BYTES = 1 << 20;

type Checked = "index" | "whole";

export class ShardReader {
  private open: { shard: number; file: number } | null = null;
  /** How far each shard has been checked, and what it looked like then. */
  private readonly checked = new Map<number, { what: Checked; size: number; modified: number }>();
  private entries: { shard: number; first: number; data: Uint32Array } = {
    shard: -1,
    first: 0,
    data: new Uint32Array(0),
  };
  private window: { shard: number; first: number; ids: ShardIds; next: number } = {
    shard: -1,
    first: 0,
    ids: new Uint16Array(0),
    next: -1,
  };

  constructor(private readonly shards: readonly CacheShard[]) {}

  /** Where the ids of a document begin and end, and the tokens of its source (-1: free text). */
  entry(shard: number, document: number): { start: number; end: number; source: number } {
    const { entries } = this;
    const at = document - entries.first;
    if (entries.shard !== shard || at < 0 || 2 * (at + 2) > entries.data.length) {
      const { documents } = this.shards[shard].record;
      // One entry more than asked for: a document ends where the next one begins.
      const last = Math.min(documents + 1, document + WINDOW_ENTRIES + 1);
      const bytes = this.read(
        shard,
        "index",
        HEADER_BYTES + ENTRY_BYTES * document,
        ENTRY_BYTES * (last - document),
      );
      this.entries = { shard, first: document, data: new Uint32Array(bytes.buffer) };
      return this.entry(shard, document);
    }
    const { data } = entries;
    return { start: data[2 * at], end: data[2 * at + 2], source: data[2 * at + 1] - 1 };
  }

  /** Ids `start` to `end` of a shard: a view that the next call may replace. */
  ids(shard: number, start: number, end: number): ShardIds {
    const { window } = this;
    const { record, idBytes } = this.shards[shard];
    const inside = window.shard === shard && start >= window.first && end <= window.first + window.ids.length;
    if (!inside) {
      const forwards = window.shard === shard && start === window.next;
      const last = forwards ? Math.min(record.tokens, Math.max(end, start + WINDOW_BYTES / idBytes)) : end;
      const bytes = this.read(
        shard,
        "whole",
        indexBytes(record.documents) + start * idBytes,
        (last - start) * idBytes,
      );
      Object.assign(window, { shard, first: start, ids: idsOf(bytes, idBytes) });
    }
    window.next = end;
    return window.ids.subarray(start - window.first, end - window.first);
  }

  /** Closes what is open; reading again opens it. */
  close(): void {
    if (this.open) closeSync(this.open.file);
    this.open = null;
  }

  private read(shard: number, what: Checked, position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    try {
      const file = this.fileOf(shard);
      this.check(shard, file, what);
      if (!readFully(file, bytes, position)) this.refuse(shard, `it ends before byte ${position + length}`);
    } catch (error) {
      this.fail(shard, error);
    }
    return bytes;
  }

  private fileOf(shard: number): number {
    if (this.open?.shard === shard) return this.open.file;
    this.close();
    const file = openSync(this.pathOf(shard), "r");
    this.open = { shard, file };
    return file;
  }

  private check(shard: number, file: number, what: Checked): void {
    const { size, mtimeMs: modified } = fstatSync(file);
    const { record } = this.shards[shard];
    const known = this.checked.get(shard);
    const same = known?.size === size && known.modified === modified;
    if (same && (known.what === "whole" || what === "index")) return;
    if (size !== record.bytes) this.refuse(shard, `it has ${size} bytes, expected ${record.bytes}`);
    const [length, expected] =
      what === "index" ? [indexBytes(record.documents), record.indexSha256] : [record.bytes, record.sha256];
    if (checksumOf(file, length) !== expected)
      this.refuse(shard, "it is not what was written (its checksum differs)");
    if (!known) {
      const header = new Uint8Array(HEADER_BYTES);
      readFully(file, header, 0);
      const wrong = headerDamage(header, record);
      if (wrong !== null) this.refuse(shard, wrong);
    }
    this.checked.set(shard, { what, size, modified });
  }

  private pathOf(shard: number): string {
    return join(this.shards[shard].cache, this.shards[shard].record.file);
  }

  /** What has failed is opened anew by who tries again. */
  private fail(shard: number, error: unknown): never {
    this.close();
    if ((error as NodeJS.ErrnoException).code === "ENOENT") this.refuse(shard, "it is missing");
    const explained = explainReadError(error, this.pathOf(shard));
    if (explained instanceof UserError) throw explained;
    return this.refuse(shard, `it cannot be read (${(error as Error).message})`);
  }

  private refuse(shard: number, damage: string): never {
    const { cache, request } = this.shards[shard];
    throw new UserError(
      `${this.pathOf(shard)} is damaged: ${damage}. The same command as before writes damaged shards anew:\n` +
        `  ${prepareCommand(cache, request)}`,
    );
  }
}

function readFully(file: number, bytes: Uint8Array, position: number): boolean {
  for (let done = 0; done < bytes.length; ) {
    const read = readSync(file, bytes, done, bytes.length - done, position + done);
    if (read === 0) return false;
    done += read;
  }
  return true;
}

/** SHA-256 of the first `length` bytes. */
function checksumOf(file: number, length: number): string {
  const hash = createHash("sha256");
  const chunk = new Uint8Array(Math.min(HASH_BYTES, length));
  for (let at = 0; at < length; at += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, length - at));
    if (!readFully(file, part, at)) break;
    hash.update(part);
  }
  return hash.digest("hex");
}
