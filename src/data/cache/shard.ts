/**
 * @file One shard of a token cache: some whole documents, as the ids of their parts. All numbers are little-endian.
 *
 *     0   8 bytes   "MDTOKENS"
 *     8   uint32    format version
 *     12  uint32    bytes of an id: 2, or 4 when the vocabulary passes 65,536
 *     16  uint32    documents D
 *     20  uint32    ids T
 *     24  8 bytes   zero
 *     32  uint32 [D + 1, 2]   first id of each document, and tokens of its source plus 1 (0: free text); the last entry is (T, 0)
 *     .   ids [T]   of each document: those of its source, then those of its target (or of its text)
 *
 * Special tokens are not here: they are laid out when a document is read, so one cache serves every sequence length.
 */
import { createHash } from "node:crypto";

export const SHARD_VERSION = 1;
export const HEADER_BYTES = 32;
export const ENTRY_BYTES = 8;
const MAGIC = "MDTOKENS";

export type ShardIds = Uint16Array | Int32Array;

/** Bytes of an id. */
export const idBytesOf = (vocabSize: number): 2 | 4 => (vocabSize <= 1 << 16 ? 2 : 4);

/** Bytes of header and index. */
export const indexBytes = (documents: number): number => HEADER_BYTES + ENTRY_BYTES * (documents + 1);

/** Ids out of the bytes of a shard, which must be aligned. */
export function idsOf(bytes: Uint8Array, idBytes: number): ShardIds {
  const { buffer, byteOffset, length } = bytes;
  return idBytes === 2
    ? new Uint16Array(buffer, byteOffset, length / 2)
    : new Int32Array(buffer, byteOffset, length / 4);
}

const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** What is wrong with a header; null: it begins a shard of this format with that many documents and ids. */
export function headerDamage(
  header: Uint8Array,
  expected: { documents: number; tokens: number },
): string | null {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const found = [8, 16, 20].map((at) => view.getUint32(at, true)).join(" ");
  const wanted = [SHARD_VERSION, expected.documents, expected.tokens].join(" ");
  const magic = Buffer.from(header.subarray(0, 8)).toString("latin1");
  if (magic === MAGIC && found === wanted) return null;
  return `its header says ${magic} ${found}, expected ${MAGIC} ${wanted}`;
}

/** Collects documents until they are worth a file. */
export class ShardBuilder {
  documents = 0;
  tokens = 0;
  conditional = 0;
  /** UTF-8 bytes of the text. */
  textBytes = 0;
  private ids: ShardIds;
  private index = new Uint32Array(1 << 10);
  private texts = createHash("sha256");

  /** @param limit bytes of ids that make a shard full */
  constructor(
    private readonly idBytes: 2 | 4,
    private readonly limit: number,
  ) {
    this.ids = this.newIds(limit / idBytes + (1 << 16));
  }

  private newIds(length: number): ShardIds {
    return this.idBytes === 2 ? new Uint16Array(length) : new Int32Array(length);
  }

  get full(): boolean {
    return this.tokens * this.idBytes >= this.limit;
  }

  /** @param ids of source and target. @param source tokens of the source, -1: free text. @param digest of the text */
  append(ids: ShardIds, source: number, textBytes: number, digest: Uint8Array): void {
    if (this.tokens + ids.length > this.ids.length) {
      const grown = this.newIds(Math.max(this.tokens + ids.length, Math.ceil(this.ids.length * 1.5)));
      grown.set(this.ids.subarray(0, this.tokens));
      this.ids = grown;
    }
    if (2 * (this.documents + 2) > this.index.length) {
      const grown = new Uint32Array(2 * this.index.length);
      grown.set(this.index);
      this.index = grown;
    }
    this.ids.set(ids, this.tokens);
    this.index[2 * this.documents] = this.tokens;
    this.index[2 * this.documents + 1] = source + 1;
    this.documents++;
    this.tokens += ids.length;
    if (source >= 0) this.conditional++;
    this.textBytes += textBytes;
    this.texts.update(digest);
  }

  /** The file in chunks, with what its record says beyond the file itself; empty afterwards. */
  take() {
    const header = new Uint8Array(HEADER_BYTES);
    header.set(Buffer.from(MAGIC, "latin1"));
    const view = new DataView(header.buffer);
    for (const [at, value] of [
      [8, SHARD_VERSION],
      [12, this.idBytes],
      [16, this.documents],
      [20, this.tokens],
    ])
      view.setUint32(at, value, true);
    this.index[2 * this.documents] = this.tokens;
    this.index[2 * this.documents + 1] = 0;
    const index = bytesOf(this.index.slice(0, 2 * (this.documents + 1)));
    const chunks = [header, index, bytesOf(this.ids.subarray(0, this.tokens))];
    const { documents, tokens, conditional, textBytes } = this;
    const indexSha256 = createHash("sha256").update(header).update(index).digest("hex");
    const record = {
      documents,
      conditional,
      tokens,
      textBytes,
      indexSha256,
      texts: this.texts.digest("hex"),
    };
    this.documents = this.tokens = this.conditional = this.textBytes = 0;
    this.texts = createHash("sha256");
    return { chunks, record };
  }
}
