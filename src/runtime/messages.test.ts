import { describe, expect, it } from "vitest";
import { buffersOf, discard, sendable } from "./messages.js";

describe("messages", () => {
  it("give an array up only when asked to, and only when it is all of its buffer", () => {
    const whole = Float32Array.of(1, 2, 3);
    const part = whole.subarray(1);
    expect(sendable(whole, true)).toBe(whole);
    expect(sendable(whole, false)).not.toBe(whole);
    expect(sendable(part, true)).toEqual(Float32Array.of(2, 3));
    expect(sendable(part, true).buffer.byteLength).toBe(8);
  });

  it("copy a Buffer of Node's, whose own slice is a view", () => {
    const bytes = Buffer.from(new ArrayBuffer(3)).fill(7);
    const sent = sendable<Uint8Array>(bytes, false);
    expect([...sent]).toEqual([7, 7, 7]);
    expect(sent.buffer).not.toBe(bytes.buffer);
    const words = BigInt64Array.of(1n, -2n);
    expect(sendable(words, false)).toEqual(words);
  });

  it("name every buffer once", () => {
    const whole = Float32Array.of(1, 2, 3);
    expect(
      buffersOf([{ data: whole }, { data: whole.subarray(1) }, { data: new Int32Array(1) }]),
    ).toHaveLength(2);
  });

  it("free a buffer at once", () => {
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 20; i++) {
      const { buffer } = new Float32Array(4e6);
      discard(buffer);
      expect(buffer.byteLength).toBe(0);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64e6); // not 20 x 16 MB
  });
});
