/**
 * @file safetensors, Hugging Face's file of named tensors: u64 length of the header (little-endian), the header as JSON
 * `{"name": {"dtype", "shape", "data_offsets": [begin, end)}, "__metadata__": {...}}`, then the raw numbers, row-major.
 * Reading checks everything the header promises; writing is streamed and atomic.
 */
import { type FileHandle, open } from "node:fs/promises";
import { explainReadError, UserError } from "../errors.js";
import { type WrittenFile, writeFileAtomic } from "./durable-file.js";

export type SafetensorsDType = "F32" | "I64" | "I32" | "U8";
export type SafetensorsData = Float32Array | BigInt64Array | Int32Array | Uint8Array;

/** One named array: `data` row-major, of product(`shape`) elements (a scalar has shape []). */
export interface SafetensorsTensor {
  shape: readonly number[];
  data: SafetensorsData;
}

export interface SafetensorsEntry {
  dtype: SafetensorsDType;
  shape: readonly number[];
  /** First byte and the one after the last, counted from the end of the header. */
  begin: number;
  end: number;
}

export interface SafetensorsHeader {
  entries: Record<string, SafetensorsEntry>;
  metadata: Record<string, string>;
  /** Where the numbers begin in the file, in bytes. */
  dataStart: number;
}

/** The format's own limit on the header, in bytes. */
const MAX_HEADER_BYTES = 100_000_000;
/** One read asks for at most this many bytes (the system's limit is 2 GiB). */
const MAX_READ_BYTES = 1 << 30;

const arrays = { F32: Float32Array, I64: BigInt64Array, I32: Int32Array, U8: Uint8Array };

function dtypeOf(data: SafetensorsData): SafetensorsDType {
  if (data instanceof Float32Array) return "F32";
  if (data instanceof BigInt64Array) return "I64";
  return data instanceof Int32Array ? "I32" : "U8";
}

const product = (shape: readonly number[]) => shape.reduce((total, size) => total * size, 1);
const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/**
 * Writes `tensors` to `path`: streamed to a temporary file beside it, forced to the disk, renamed.
 *
 * @param metadata free text by name, kept in the header.
 * @returns size and SHA-256 of the file.
 * @throws UserError when the disk is full or may not be written (an older file at `path` is untouched).
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, SafetensorsTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<WrittenFile> {
  return writeFileAtomic(path, safetensorsChunks(tensors, metadata));
}

/** The file's bytes, piece by piece: the header, then every tensor (views of its data, not copies). */
export function safetensorsChunks(
  tensors: Readonly<Record<string, SafetensorsTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array[] {
  // Wide elements first, so that every tensor begins at a multiple of its element size.
  const ordered = Object.entries(tensors).sort(
    ([, a], [, b]) => b.data.BYTES_PER_ELEMENT - a.data.BYTES_PER_ELEMENT,
  );
  const header = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) header.set("__metadata__", metadata);
  let offset = 0;
  for (const [name, { shape, data }] of ordered) {
    if (name === "__metadata__") throw new Error('A tensor cannot be called "__metadata__" in safetensors.');
    if (product(shape) !== data.length) {
      throw new Error(
        `Tensor "${name}": shape [${shape}] wants ${product(shape)} values, got ${data.length}.`,
      );
    }
    const end = offset + data.byteLength;
    header.set(name, { dtype: dtypeOf(data), shape, data_offsets: [offset, end] });
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const padded = Math.ceil(json.length / 8) * 8; // the format pads with spaces so that the numbers are aligned
  const head = new Uint8Array(8 + padded).fill(0x20, 8);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, 8);
  return [
    head,
    ...ordered.map(([, { data }]) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  ];
}

/** Checks one header entry; `fail` makes the error. */
function readEntry(name: string, value: unknown, fail: (what: string) => UserError): SafetensorsEntry {
  const { dtype, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>;
  if (typeof dtype !== "string" || !Array.isArray(shape) || !Array.isArray(offsets)) {
    throw fail(`tensor "${name}" lacks dtype, shape or data_offsets`);
  }
  if (!Object.hasOwn(arrays, dtype)) {
    throw fail(`tensor "${name}" is ${dtype}; expected one of ${Object.keys(arrays).join(", ")}`);
  }
  if (!shape.every(isSize) || offsets.length !== 2 || !offsets.every(isSize)) {
    throw fail(`tensor "${name}" has shape ${JSON.stringify(shape)} and offsets ${JSON.stringify(offsets)}`);
  }
  const [begin, end] = offsets as number[];
  const width = arrays[dtype as SafetensorsDType].BYTES_PER_ELEMENT;
  if (end - begin !== product(shape) * width) {
    throw fail(
      `tensor "${name}" of shape [${shape}] needs ${product(shape) * width} bytes, its offsets span ${end - begin}`,
    );
  }
  return { dtype: dtype as SafetensorsDType, shape, begin, end };
}

/** What to do about a file that is cut short, unless the caller knows better. */
const COPY_AGAIN = "Copy or download it again.";

/** Parses and checks the header text against the size of the file. */
function parseHeader(
  text: string,
  dataStart: number,
  fileBytes: number,
  path: string,
  mend?: string,
): SafetensorsHeader {
  // Of another program's file, which may be whole, nothing is said but what the caller knows.
  const fail = (what: string) =>
    new UserError(`${path} is not a valid safetensors file: ${what}.${mend === undefined ? "" : ` ${mend}`}`);
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    throw fail("its header is not JSON");
  }
  if (typeof header !== "object" || header === null || Array.isArray(header))
    throw fail("its header is no object");
  const { __metadata__: metadata = {}, ...rest } = header as Record<string, unknown>;
  if (
    typeof metadata !== "object" ||
    metadata === null ||
    Object.values(metadata).some((v) => typeof v !== "string")
  ) {
    throw fail("__metadata__ must map names to text");
  }
  const entries = Object.entries(rest).map(([name, value]) => [name, readEntry(name, value, fail)] as const);
  let expected = 0;
  for (const [name, { begin, end }] of [...entries].sort(
    ([, a], [, b]) => a.begin - b.begin || a.end - b.end,
  )) {
    if (begin !== expected) throw fail(`tensor "${name}" begins at byte ${begin}, expected ${expected}`);
    if (dataStart + end > fileBytes) {
      const total = dataStart + Math.max(...entries.map(([, entry]) => entry.end));
      throw new UserError(
        `${path} is cut short: expected ${total} bytes, got ${fileBytes} (${total - fileBytes} missing, ` +
          `from tensor "${name}" on). ${mend ?? COPY_AGAIN}`,
      );
    }
    expected = end;
  }
  if (dataStart + expected !== fileBytes) {
    throw fail(`${fileBytes - dataStart - expected} bytes follow the last tensor`);
  }
  return { entries: Object.fromEntries(entries), metadata: metadata as Record<string, string>, dataStart };
}

async function readFully(
  handle: FileHandle,
  into: Uint8Array,
  position: number,
  path: string,
): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const length = Math.min(into.length - done, MAX_READ_BYTES);
    const { bytesRead } = await handle.read(into, done, length, position + done).catch((error: unknown) => {
      throw explainReadError(error, path);
    });
    if (bytesRead === 0)
      throw new UserError(`${path} became shorter while it was read. Read it again when it is whole.`);
    done += bytesRead;
  }
}

async function readHeader(handle: FileHandle, path: string, mend?: string): Promise<SafetensorsHeader> {
  const { size } = await handle.stat();
  if (size < 8) {
    throw new UserError(
      `${path} is cut short: expected at least 8 bytes (the header's length), got ${size}. ${mend ?? COPY_AGAIN}`,
    );
  }
  const prefix = new Uint8Array(8);
  await readFully(handle, prefix, 0, path);
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES) {
    throw new UserError(
      `${path} is not a safetensors file: its first 8 bytes promise a header of ${length} bytes (at most ${MAX_HEADER_BYTES}).${mend === undefined ? "" : ` ${mend}`}`,
    );
  }
  if (8 + length > size) {
    throw new UserError(
      `${path} is cut short inside its header: expected at least ${8 + length} bytes, got ${size} ` +
        `(${8 + length - size} of the header alone missing). ${mend ?? COPY_AGAIN}`,
    );
  }
  const bytes = new Uint8Array(length);
  await readFully(handle, bytes, 8, path);
  return parseHeader(new TextDecoder().decode(bytes), 8 + length, size, path, mend);
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (error) {
    throw explainReadError(error, path);
  }
}

/** Names, dtypes and shapes in a file, without its numbers. Throws a UserError when the file is not whole; `mend`: what helps then. */
export async function readSafetensorsHeader(path: string, mend?: string): Promise<SafetensorsHeader> {
  const handle = await openFile(path);
  try {
    return await readHeader(handle, path, mend);
  } finally {
    await handle.close();
  }
}

/**
 * The tensors of a file, each in memory of its own.
 *
 * @param options.names which ones; default: all. A name that is not there is a UserError.
 * @param options.mend a sentence: what helps when the file is not whole. Default: to copy or download it again.
 * @throws UserError naming the file and what is wrong or missing.
 */
export async function readSafetensors(
  path: string,
  options: { names?: readonly string[]; mend?: string | undefined } = {},
): Promise<{ tensors: Record<string, SafetensorsTensor>; metadata: Record<string, string> }> {
  const handle = await openFile(path);
  try {
    const { entries, metadata, dataStart } = await readHeader(handle, path, options.mend);
    const tensors: [string, SafetensorsTensor][] = [];
    for (const name of options.names ?? Object.keys(entries)) {
      if (!Object.hasOwn(entries, name)) {
        throw new UserError(`${path} has no tensor "${name}"; it has ${Object.keys(entries).length} others.`);
      }
      const { dtype, shape, begin, end } = entries[name];
      const bytes = new Uint8Array(end - begin);
      await readFully(handle, bytes, dataStart + begin, path);
      tensors.push([name, { shape, data: new arrays[dtype](bytes.buffer) }]);
    }
    return { tensors: Object.fromEntries(tensors), metadata };
  } finally {
    await handle.close();
  }
}
