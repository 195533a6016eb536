/**
 * @file Files as byte streams: gunzipped where the name ends in `.gz`, cut into lines without ever holding a whole file.
 * Lines are cut at the byte 0x0A and nowhere else (U+2028 and a lone CR are legal inside a JSON string), then checked as UTF-8.
 */
import { isUtf8 } from "node:buffer";
import { createReadStream } from "node:fs";
import { createGunzip } from "node:zlib";
import { explainReadError, UserError } from "../errors.js";

const LF = 0x0a;
const CR = 0x0d;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
/** A JavaScript string cannot be longer than 2^29 - 24 units; a line or text file beyond this is refused before it gets there. */
export const MAX_TEXT_BYTES = 256 * 1024 * 1024;

/** One line of a file (numbered from 1): its text, or what came instead of one. */
export type TextLine = { readonly line: number } & ({ readonly text: string } | { readonly got: string });

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "";
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Told the bytes of a file as they are read from the disk. */
export type OnRead = (chunk: Uint8Array) => void;

/** Bytes read from the disk, and gunzipped, at a time. */
const CHUNK_BYTES = 1 << 18;
/** Bytes handed to zlib at a time. What comes of them, a thousand times as many at most, is held at once. */
const PIECE_BYTES = 1 << 16;

/**
 * The bytes of a file in chunks; gunzipped when its name ends in `.gz` (several members in a row included).
 * @throws UserError for a file that cannot be read, is not gzip although named so, or ends too early: after the same bytes every time
 */
export async function* fileChunks(path: string, onRead: OnRead = () => {}): AsyncGenerator<Buffer> {
  const read = path.toLowerCase().endsWith(".gz") ? unzipped : plain;
  let bytes = 0;
  try {
    for await (const chunk of read(path, onRead)) {
      bytes += chunk.length;
      yield chunk;
    }
  } catch (error) {
    const code = codeOf(error);
    if (code === "Z_BUF_ERROR")
      throw new UserError(
        `${path}: the gzip stream ends too early, after ${bytes} bytes of text; the file is cut short: fetch or write it again`,
      );
    if (code.startsWith("Z_"))
      throw new UserError(
        `${path}: expected gzip data, got something else (${messageOf(error)}); rename the file without .gz or compress it again`,
      );
    throw explainReadError(error, path);
  }
}

async function* plain(path: string, onRead: OnRead): AsyncGenerator<Buffer> {
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
    onRead(chunk as Buffer);
    yield chunk as Buffer;
  }
}

/**
 * Piece by piece: each is wholly gunzipped and handed on before the next. zlib must not be told of the end with the last bytes, as a pipe
 * tells it where the reader is slow: of a file cut short it would hand on less then.
 */
async function* unzipped(path: string, onRead: OnRead): AsyncGenerator<Buffer> {
  const source = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  const gunzip = new Gunzip();
  try {
    for await (const chunk of source) {
      onRead(chunk as Buffer);
      // Behind the end of the gzip data all bytes are for onRead alone.
      for (let start = 0; start < (chunk as Buffer).length && !gunzip.ended; start += PIECE_BYTES)
        yield* await gunzip.write((chunk as Buffer).subarray(start, start + PIECE_BYTES));
    }
    yield* await gunzip.end();
    if (gunzip.bytesRead < source.bytesRead) await refuseBehind(path, gunzip.bytesRead);
  } finally {
    source.destroy();
    gunzip.destroy();
  }
}

/** zlib's stream, asked for what comes of each piece. */
class Gunzip {
  private readonly stream = createGunzip({ chunkSize: CHUNK_BYTES });
  private ready: Buffer[] = [];
  private failure: Error | null = null;
  private proceed = () => {};

  constructor() {
    this.stream
      .on("data", (chunk: Buffer) => this.ready.push(chunk))
      .on("error", (error) => {
        this.failure ??= error;
      })
      // A piece in which the data ends, or fails, is never said to be done with.
      .on("end", () => this.proceed())
      .on("close", () => this.proceed());
  }

  /** Whether the gzip data has ended, with more bytes behind it. */
  get ended(): boolean {
    return this.stream.readableEnded;
  }

  /** Bytes of gzip data, those behind its end not among them. */
  get bytesRead(): number {
    return this.stream.bytesWritten;
  }

  /** What comes of a piece. Where it fails, that comes first and the error after it. */
  write(piece: Buffer): Promise<Iterable<Buffer>> {
    return this.outcome((done) => this.stream.write(piece, done));
  }

  /** What comes when nothing follows. @throws Z_BUF_ERROR where something should have */
  end(): Promise<Iterable<Buffer>> {
    return this.outcome((done) => (this.ended ? done() : this.stream.end()));
  }

  destroy(): void {
    this.stream.destroy();
  }

  private async outcome(begin: (done: () => void) => void): Promise<Iterable<Buffer>> {
    await new Promise<void>((done) => {
      this.proceed = done;
      begin(done);
    });
    return this.take();
  }

  private *take(): Generator<Buffer> {
    yield* this.ready.splice(0);
    if (this.failure) throw this.failure;
  }
}

/** Node.js takes a zero for the end of gzip data, as some writers fill up with zeros; anything else behind it would be lost. */
async function refuseBehind(path: string, start: number): Promise<void> {
  for await (const chunk of createReadStream(path, { start }))
    if ((chunk as Buffer).some((byte) => byte !== 0))
      throw new UserError(
        `${path}: expected nothing behind the ${start} bytes of its gzip data, got zeros and more; the file is damaged: fetch or write it again`,
      );
}

const decode = (bytes: Buffer): string | null => (isUtf8(bytes) ? bytes.toString("utf8") : null);
const withoutBom = (bytes: Buffer): Buffer => (bytes.subarray(0, 3).equals(BOM) ? bytes.subarray(3) : bytes);

/**
 * The lines of a file: a byte order mark at its start and the CR of CRLF are dropped; empty lines are yielded too. Of a line of more than
 * `maxBytes` nothing is held: it is yielded as such, and what is left of it passed over.
 */
export async function* fileLines(
  path: string,
  onRead?: OnRead,
  maxBytes = MAX_TEXT_BYTES,
): AsyncGenerator<TextLine> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let line = 1;
  /** Inside of a line that was yielded as too long. */
  let passing = false;
  const take = (): TextLine => {
    let bytes = held.length === 1 ? held[0] : Buffer.concat(held);
    if (line === 1) bytes = withoutBom(bytes);
    if (bytes.length > 0 && bytes[bytes.length - 1] === CR) bytes = bytes.subarray(0, -1);
    const text = decode(bytes);
    return text === null ? { line, got: "bytes that are not UTF-8" } : { line, text };
  };
  for await (const chunk of fileChunks(path, onRead)) {
    for (let start = 0; start < chunk.length; ) {
      const end = chunk.indexOf(LF, start);
      const part = chunk.subarray(start, end < 0 ? chunk.length : end);
      heldBytes += part.length;
      if (!passing) held.push(part);
      if (!passing && heldBytes > maxBytes) {
        yield { line, got: `a line of more than ${maxBytes} bytes (is it a JSON Lines file?)` };
        held = [];
        passing = true;
      }
      start += part.length + 1;
      if (end < 0) continue;
      if (!passing) yield take();
      held = [];
      heldBytes = 0;
      passing = false;
      line++;
    }
  }
  if (heldBytes > 0 && !passing) yield take();
}

/** What a text file turned out to hold. */
export type FileText = { kind: "text"; text: string } | { kind: "binary" | "not-utf8" };

/**
 * A whole file as text (one document): the byte order mark is dropped and CRLF becomes LF.
 * A NUL byte anywhere makes it binary, as git decides it.
 */
export async function fileText(path: string, onRead?: OnRead): Promise<FileText> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of fileChunks(path, onRead)) {
    if (chunk.includes(0)) return { kind: "binary" };
    size += chunk.length;
    if (size > MAX_TEXT_BYTES)
      throw new UserError(
        `${path}: expected a text of at most ${MAX_TEXT_BYTES} bytes, got more; split it, or write JSON Lines with one {"text": ...} a document`,
      );
    chunks.push(chunk);
  }
  const text = decode(withoutBom(Buffer.concat(chunks)));
  return text === null ? { kind: "not-utf8" } : { kind: "text", text: text.replaceAll("\r\n", "\n") };
}

/**
 * A text file that is not one of many: as `fileText` reads it, so that it is cut into the same tokens as a text that was trained on.
 * @param what the file, and what it is, in messages. @throws UserError when it cannot be read, or is no UTF-8 text
 */
export async function readTextFile(path: string, what = path): Promise<string> {
  const content = await fileText(path).catch((error: unknown) => {
    throw error instanceof UserError && error.cause ? explainReadError(error.cause, what) : error;
  });
  if (content.kind === "text") return content.text;
  throw new UserError(
    content.kind === "binary"
      ? `${what}: expected UTF-8 text, got binary data`
      : `${what}: expected UTF-8 text, got another encoding; convert it (iconv -f latin1 -t utf-8)`,
  );
}
