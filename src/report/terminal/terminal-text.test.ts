import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sparkline } from "./sparkline.js";
import { cellsOf, printable, wrap } from "./terminal-text.js";

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

describe("printable", () => {
  it("leaves nothing that a terminal obeys", () => {
    expect(printable("\u001b[2J\u001b]0;title\u0007 \u009b31m\b\u007f")).toBe(
      "\ufffd[2J\ufffd]0;title\ufffd \ufffd31m\ufffd\ufffd",
    );
    expect(printable("a\tb\r\nc\rd\u2028e")).toBe("a    b\nc\nd\ne");
  });

  it("drops what turns or hides text, and keeps emoji whole", () => {
    expect(printable("abc\u202edef\u2066g\u200bh\ufeff")).toBe("abcdefgh");
    expect(printable("👩‍👩‍👧 é 日本")).toBe("👩‍👩‍👧 é 日本");
    expect(printable("a\ud800b")).toBe("a\ufffdb");
  });

  it("holds for any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(printable(text)).not.toMatch(OBEYED);
        expect(printable(printable(text))).toBe(printable(text));
      }),
    );
  });
});

describe("wrap", () => {
  const lines = (text: string, width: number) =>
    wrap(cellsOf(printable(text)), width).map((line) => line.map((cell) => cell.text).join(""));

  it("breaks at spaces, at line ends, and in words where it must", () => {
    expect(lines("the quick brown fox", 10)).toEqual(["the quick", "brown fox"]);
    expect(lines("one\n\ntwo\n", 10)).toEqual(["one", "", "two"]);
    expect(lines("abcdefghijklm no", 5)).toEqual(["abcde", "fghij", "klm", "no"]);
    expect(lines("", 5)).toEqual([]);
  });

  it("counts wide characters twice and never cuts one", () => {
    expect(cellsOf("日e\u0301👩‍👧").map((cell) => cell.width)).toEqual([2, 1, 2]);
    expect(lines("日本語テキスト", 5)).toEqual(["日本", "語テ", "キス", "ト"]);
    expect(lines("日a", 1)).toEqual(["a"]);
    expect(lines(" abcd日", 5)).toEqual([" abcd", "日"]);
  });

  it("stays inside the width for any text and loses no word", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 2, max: 30 }), (text, width) => {
        const cells = cellsOf(printable(text)).filter((cell) => cell.width <= width);
        const squeezed = (s: string) => s.replaceAll(/\s/g, "");
        const wrapped = wrap(cells, width);
        for (const line of wrapped)
          expect(line.reduce((sum, cell) => sum + cell.width, 0)).toBeLessThanOrEqual(width);
        const textOf = (some: readonly { text: string }[]) =>
          squeezed(some.map((cell) => cell.text).join(""));
        expect(textOf(wrapped.flat())).toBe(textOf(cells));
      }),
    );
  });
});

describe("sparkline", () => {
  it("draws from the lowest to the highest", () => {
    expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7])).toBe("▁▂▃▄▅▆▇█");
    expect(sparkline([7, 0])).toBe("█▁");
    expect(sparkline([0.5], { min: 0, max: 1 })).toBe("▅");
  });

  it("averages long series and bears odd ones", () => {
    expect(sparkline([0, 0, 1, 1], { width: 2 })).toBe("▁█");
    expect(sparkline([])).toBe("");
    expect(sparkline([3, 3])).toBe("▁▁");
    expect(sparkline([0, Number.NaN, 1])).toBe("▁ █");
    expect(sparkline([Number.NaN])).toBe(" ");
  });
});
