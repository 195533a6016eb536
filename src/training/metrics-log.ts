/**
 * @file `metrics.jsonl`: one JSON object a line, each with the `step` it belongs to. Lines are handed to the system at
 * once, so a killed run loses none; a resumed run first drops the lines after the step it resumes from, so that none is
 * there twice.
 */
import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { explainReadError, isMissing } from "../errors.js";
import { explainWriteError, writeFileAtomic } from "../hub/durable-file.js";
import type { ValidMetrics } from "./train-events.js";

/** `kind` says what was measured: "train", "valid" ... Numbers that are not finite are written as null. */
export interface MetricsRecord {
  kind: string;
  step: number;
  [name: string]: unknown;
}

const LF = 0x0a;
/** Bytes read and written at a time: a string cannot hold the log of a very long run. */
const PIECE_BYTES = 1 << 20;

/** The records of a log; a torn last line (a power cut) and lines that are no records are left out. */
export const readMetrics = (path: string, pieceBytes = PIECE_BYTES): MetricsRecord[] => [
  ...recordsOf(path, pieceBytes),
];

/** The same, one after the other. */
function* recordsOf(path: string, pieceBytes: number): Generator<MetricsRecord> {
  try {
    for (const line of linesOf(path, pieceBytes)) {
      const record = parseRecord(line);
      if (record) yield record;
    }
  } catch (error) {
    if (!isMissing(error)) throw explainReadError(error, path);
  }
}

function parseRecord(line: Buffer): MetricsRecord | null {
  try {
    const record: unknown = JSON.parse(line.toString());
    return typeof (record as MetricsRecord | null)?.step === "number" ? (record as MetricsRecord) : null;
  } catch {
    return null;
  }
}

/** The lines of a file without their ends; what stands behind the last end is one too. */
function* linesOf(path: string, pieceBytes: number): Generator<Buffer> {
  const file = openSync(path, "r");
  try {
    let held: Buffer[] = [];
    for (;;) {
      const bytes = Buffer.allocUnsafe(pieceBytes);
      const piece = bytes.subarray(0, readSync(file, bytes, 0, pieceBytes, null));
      if (piece.length === 0) break;
      let start = 0;
      for (let end = piece.indexOf(LF); end >= 0; end = piece.indexOf(LF, start)) {
        yield Buffer.concat([...held, piece.subarray(start, end)]);
        held = [];
        start = end + 1;
      }
      held.push(piece.subarray(start));
    }
    yield Buffer.concat(held);
  } finally {
    closeSync(file);
  }
}

/** The records up to a step as lines again, some thousand at a time. */
function* linesUpTo(lastStep: number, path: string, pieceBytes: number): Generator<Buffer> {
  let lines = "";
  for (const record of recordsOf(path, pieceBytes)) {
    if (record.step > lastStep) continue;
    lines += `${JSON.stringify(record)}\n`;
    if (lines.length < pieceBytes) continue;
    yield Buffer.from(lines);
    lines = "";
  }
  yield Buffer.from(lines);
}

/** What a validation was of: two are of the same only where all of it is equal. */
export type ValidatedOn = Pick<ValidMetrics, "texts" | "sequences">;

/** The validation of a step that the log has already, on these texts: a resumed run does not repeat it. */
export function validationAt(path: string, step: number, on: Partial<ValidatedOn> = {}): ValidMetrics | null {
  const of = Object.entries(on);
  let found: MetricsRecord | null = null;
  for (const record of recordsOf(path, PIECE_BYTES))
    if (
      record.kind === "valid" &&
      record.step === step &&
      of.every(([name, value]) => record[name] === value)
    )
      found = record;
  return found as ValidMetrics | null;
}

function writing<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw explainWriteError(error, path);
  }
}

export class MetricsLog {
  private constructor(
    private readonly path: string,
    private readonly file: number,
  ) {}

  /**
   * Opens the log for appending.
   *
   * @param lastStep lines of later steps are dropped first; 0 empties it but for lines of step 0, -1 wholly.
   */
  static async open(path: string, lastStep: number, pieceBytes = PIECE_BYTES): Promise<MetricsLog> {
    await writeFileAtomic(path, linesUpTo(lastStep, path, pieceBytes));
    return new MetricsLog(
      path,
      writing(path, () => openSync(path, "a")),
    );
  }

  append(record: MetricsRecord): void {
    const line = Buffer.from(`${JSON.stringify(record)}\n`);
    writing(this.path, () => {
      for (let start = 0; start < line.length; ) start += writeSync(this.file, line, start);
    });
  }

  /** Forces the lines to the disk; call before a checkpoint is saved, so that none it counts on is lost. */
  sync(): void {
    writing(this.path, () => fsyncSync(this.file));
  }

  close(): void {
    closeSync(this.file);
  }
}
