/** @file What tells texts that have changed: how many bytes a path stands for and their checksum, taken while they are read. */
import { createHash, type Hash } from "node:crypto";
import { stat } from "node:fs/promises";

/** The bytes behind a path, as they lie on the disk (compressed ones compressed). Plain JSON. */
export interface TextRecord {
  /** As it was named. */
  readonly path: string;
  /** Files read: binary ones and others that hold no text are not among them. */
  readonly files: number;
  readonly bytes: number;
  /** SHA-256: of the file, or for a folder of what `sha256sum` prints for its files, paths relative to it, in reading order. */
  readonly sha256: string;
}

/** Takes the record of one path. */
export class TextRecorder {
  private readonly listing = createHash("sha256");
  private single = "";
  private file: Hash = createHash("sha256");
  private fileBytes = 0;
  private files = 0;
  private bytes = 0;

  /** A file begins; what was read of the one before is forgotten unless it was closed. */
  open(): void {
    this.file = createHash("sha256");
    this.fileBytes = 0;
  }

  readonly add = (chunk: Uint8Array): void => {
    this.file.update(chunk);
    this.fileBytes += chunk.length;
  };

  /** The file was read to its end. @param name its path relative to the folder */
  close(name: string): void {
    this.single = this.file.digest("hex");
    this.listing.update(`${this.single}  ${name}\n`);
    this.files++;
    this.bytes += this.fileBytes;
    this.open();
  }

  record(path: string, isFolder: boolean): TextRecord {
    const sha256 = isFolder ? this.listing.digest("hex") : this.single;
    return { path, files: this.files, bytes: this.bytes, sha256 };
  }
}

/** When a path was last changed, for messages; null when it is gone. */
export const modifiedAt = (path: string): Promise<string | null> =>
  stat(path).then(
    ({ mtime }) => mtime.toISOString(),
    () => null,
  );
