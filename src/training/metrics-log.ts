/**
 * @file `metrics.jsonl`: one JSON object a line, each with the `step` it belongs to. Lines are handed to the system at
 * once, so a killed run loses none; a resumed run first drops the lines after the step it resumes from, so that none is
 * there twice.
 */
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { explainReadError, isMissing } from "../errors.js";
import { explainWriteError, writeFileAtomic } from "../hub/durable-file.js";
import type { ValidMetrics } from "./train-events.js";

/** `kind` says what was measured: "train", "valid" ... Numbers that are not finite are written as null. */
export interface MetricsRecord {
  kind: string;
  step: number;
  [name: string]: unknown;
}

/** The records of a log; a torn last line (a power cut) and lines that are no records are left out. */
export function readMetrics(path: string): MetricsRecord[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return [];
    throw explainReadError(error, path);
  }
  return text.split("\n").flatMap((line) => {
    try {
      const record: unknown = JSON.parse(line);
      return typeof (record as MetricsRecord | null)?.step === "number" ? [record as MetricsRecord] : [];
    } catch {
      return [];
    }
  });
}

/** The validation of a step that the log has already: a resumed run does not repeat it. */
export const validationAt = (path: string, step: number): ValidMetrics | null =>
  (readMetrics(path).findLast((line) => line.kind === "valid" && line.step === step) as
    | ValidMetrics
    | undefined) ?? null;

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
  static async open(path: string, lastStep: number): Promise<MetricsLog> {
    const kept = readMetrics(path).filter((record) => record.step <= lastStep);
    await writeFileAtomic(path, kept.map((record) => `${JSON.stringify(record)}\n`).join(""));
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
