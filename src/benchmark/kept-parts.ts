/**
 * @file Parts of a long measurement, each kept as soon as it is complete: a later call with the same settings takes it over instead of
 * measuring again. The file is named by the settings' checksum, and holds them in full.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { readKept, writeKept } from "../hub/index.js";

/** T: plain JSON. */
export class KeptParts<T> {
  /** @param folder made when the first part is kept; undefined: nothing is kept */
  constructor(private readonly folder?: string) {}

  /** What was measured under these settings; null: nothing, or the file is not what was written. */
  async find(name: string, settings: object): Promise<T | null> {
    return this.folder === undefined ? null : readKept<T>(this.#path(name, settings), settings);
  }

  /** Whole or not at all. @throws UserError when the disk is full or may not be written */
  async keep(name: string, settings: object, part: T): Promise<void> {
    if (this.folder !== undefined) await writeKept(this.#path(name, settings), settings, part);
  }

  #path(name: string, settings: object): string {
    const sum = createHash("sha256").update(JSON.stringify(settings)).digest("hex").slice(0, 12);
    return join(this.folder!, `${name}-${sum}.json`);
  }
}
