import fc from "fast-check";
import stringWidth from "string-width";
import { describe, expect, it } from "vitest";
import { type DenoisingFrame, denoisingFrame, redrawFrame } from "./denoising-frame.js";

const token = (text: string, settled: boolean, given = false) => ({ text, settled, given });
const base = { width: 60, height: 8, step: 3, of: 8, color: false };
const frame = (tokens: DenoisingFrame["tokens"], changes: Partial<DenoisingFrame> = {}) =>
  denoisingFrame({ ...base, tokens, ...changes });

describe("denoisingFrame", () => {
  it("shows settled text, guesses as dots of their shape, and how far it is", () => {
    const tokens = [token("We", true, true), token(" the", true), token(" people", false), token("", false)];
    expect(frame(tokens)).toBe(`step 3/8  ${"━".repeat(36)}  33 % settled\nWe the ${"·".repeat(10)} `);
  });

  it("lights what has settled since the frame before", () => {
    const tokens = [token("a", true), token(" b", true), token(" c", false)];
    const previous = [token("a", true), token(" x", false), token(" c", false)];
    const lit = frame(tokens, { previous, color: true });
    expect(lit).toContain("a \u001b[43m\u001b[30mb\u001b[39m\u001b[49m\u001b[2m");
    expect(frame(tokens, { color: true })).not.toContain("\u001b[43m");
  });

  it("never obeys the text", () => {
    const out = frame([token("\u001b[2J\u0007\u202eevil\r", true)]);
    expect(out.split("\n")[1]).toBe("\ufffd[2J\ufffdevil");
  });

  it("is clipped to the terminal, with the whole document in the last line", () => {
    const tokens = Array.from({ length: 300 }, (_, i) => token(" word", i < 150));
    const lines = frame(tokens).split("\n");
    expect(lines.length).toBe(8);
    expect(lines[7]).toMatch(/^█+▅?▁+ all 300 tokens$/);
    expect(frame(tokens, { height: 1 }).split("\n").length).toBe(2);
  });

  it("bears any tokens and any size", () => {
    const tokens = fc.array(
      fc.record({ text: fc.string({ unit: "grapheme" }), settled: fc.boolean(), given: fc.boolean() }),
      { maxLength: 12 },
    );
    const size = fc.integer({ min: -1, max: 50 });
    fc.assert(
      fc.property(tokens, size, size, (list, width, height) => {
        for (const color of [false, true]) {
          const lines = frame(list, { width, height, color }).split("\n");
          expect(lines.length).toBeLessThanOrEqual(Math.max(2, height));
          for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(Math.max(20, width));
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe("redrawFrame", () => {
  it("goes up to the first line of the frame before and clears what it does not overwrite", () => {
    expect(redrawFrame("a\nb", null)).toBe("a\u001b[K\nb\u001b[K\u001b[J");
    expect(redrawFrame("c", "a\nb")).toBe("\r\u001b[1Ac\u001b[K\u001b[J");
    expect(redrawFrame("d", "c")).toBe("\rd\u001b[K\u001b[J");
  });
});
