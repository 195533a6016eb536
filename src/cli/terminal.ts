/**
 * @file Where a command writes. Results go to standard output, all talk about progress to standard error; with `--json`
 * standard output is one line, one object.
 */
import { Writable } from "node:stream";

/** `columns` is 0 for a terminal that does not know its size. */
export type OutputStream = Writable & { isTTY?: boolean; columns?: number };

/** Whether what stands on a stream can be written over: it is a terminal, and one that knows cursor codes. */
export const isLive = ({ isTTY = false }: OutputStream): boolean => isTTY && process.env.TERM !== "dumb";

/** The two streams of a process, or stand-ins for them in tests. */
export interface Terminal {
  stdout: OutputStream;
  stderr: OutputStream;
}

const nowhere = () => new Writable({ write: (_chunk, _encoding, done) => done() });
/** Where the ranks of a job write that leave talking to rank 0. */
export const silent: Terminal = { stdout: nowhere(), stderr: nowhere() };

/** What a command comes to. */
export interface CommandResult {
  /** What `--json` prints, as one line. */
  json: Readonly<Record<string, unknown>>;
  /** What is printed without `--json`; nothing, when the command has shown its result on the way. */
  text?: string;
  /** Default 0. */
  exitCode?: number;
}

/** Waits until everything written to a stream has left this process. */
export function flush(stream: Writable): Promise<void> {
  return new Promise((resolve) => stream.write("", () => resolve()));
}

export function printResult({ stdout }: Terminal, { json, text }: CommandResult, asJson: boolean): void {
  if (asJson) stdout.write(`${JSON.stringify(json)}\n`);
  else if (text !== undefined) stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}
