/** @file For tests: a terminal that remembers what was written to it. */
import { Writable } from "node:stream";
import type { OutputStream } from "../terminal.js";

export interface MemoryStream extends OutputStream {
  readonly text: string;
}

export function memoryStream(options: { isTTY?: boolean; columns?: number } = {}): MemoryStream {
  let text = "";
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  Object.defineProperty(stream, "text", { get: () => text });
  return Object.assign(stream, options) as unknown as MemoryStream;
}

export function memoryTerminal(): { stdout: MemoryStream; stderr: MemoryStream } {
  return { stdout: memoryStream(), stderr: memoryStream() };
}
