import { describe, expect, it } from "vitest";
import { fill } from "./kernels.js";
import { type PhiloxCounter, type PhiloxKey, philox4x32 } from "./philox.js";

/** The known answers published with Random123: counter, key, output. */
const knownAnswers: [PhiloxCounter, PhiloxKey, string][] = [
  [[0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    "408f276d 41c83b0e a20bc7c6 6d5451fd",
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    "d16cfe09 94fdcceb 5001e420 24126ea1",
  ],
];
const hex = (words: Uint32Array) => [...words].map((word) => word.toString(16).padStart(8, "0")).join(" ");

describe.each(knownAnswers)("Philox4x32-10 of counter %j, key %j", (counter, key, expected) => {
  it("gives the published words", () => {
    expect(hex(philox4x32(counter, key))).toBe(expected);
  });

  it("gives the published words in the compiled form", () => {
    const [position, step, sequence, stream] = counter;
    const words = new Uint32Array(4);
    fill("words", words, key, stream, sequence, step, position * 4);
    expect(hex(words)).toBe(expected);
  });
});
