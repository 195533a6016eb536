/** @file Moving arrays between threads without copying them, and freeing them without waiting for the garbage collector. */
import { MessageChannel } from "node:worker_threads";
import type { TypedData } from "../graph/index.js";

interface HasArray {
  readonly data: ArrayBufferView;
}

/** The distinct buffers below some tensors. */
export const buffersOf = (tensors: readonly HasArray[]): ArrayBuffer[] => [
  ...new Set(tensors.map(({ data }) => data.buffer as ArrayBuffer)),
];

/**
 * An array that may be handed to another thread: `array` itself when it is given up and is all of its buffer, otherwise a copy.
 * Sending a view as it is would copy the whole buffer below it, twice.
 */
export function sendable<A extends TypedData>(array: A, givenUp: boolean): A {
  const whole = array.byteLength === array.buffer.byteLength && array.buffer instanceof ArrayBuffer;
  if (givenUp && whole) return array;
  // Not array.slice(): that of a Node Buffer, which is a Uint8Array, is a view. All typed arrays have this one.
  return Uint8Array.prototype.slice.call(array) as unknown as A;
}

const { port1: drain, port2 } = new MessageChannel();
port2.close();

/**
 * Frees a buffer now. Left to the garbage collector, the gradients of several runs (tens of MB each) would wait side by side: a
 * message to a port that is closed takes its buffers along and is dropped.
 */
export function discard(buffer: ArrayBuffer): void {
  drain.postMessage(null, [buffer]);
}
