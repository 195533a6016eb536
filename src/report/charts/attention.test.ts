import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import { samplePattern } from "../testing/sample.js";
import { attentionPicture, coarsen, describeHeads, shareSeen } from "./attention.js";
import { shadePaths } from "./svg.js";
import { svgDocument } from "./svg-document.js";

const pattern = samplePattern();
const [heads] = pattern.groups;

describe("coarsen", () => {
  it("keeps the number of seen pairs", () => {
    for (const limit of [32, 16, 7, 5]) {
      const { cells, local, global } = coarsen(heads, pattern, limit);
      expect(cells).toBeLessThanOrEqual(limit);
      // Cells of unequal size weigh by their size; with a divisor all weigh (N / cells)^2.
      if (32 % cells === 0) {
        const pairs = [...local, ...global].reduce((a, b) => a + b, 0) * (32 / cells) ** 2;
        expect(pairs).toBeCloseTo(shareSeen(heads, 32) * 32 * 32, 6);
      }
      for (const share of [...local, ...global]) expect(share).toBeLessThanOrEqual(1 + 1e-9);
    }
  });

  it("tells pairs with a global position from the others", () => {
    const { local, global } = coarsen(heads, pattern, 32);
    expect(global[0 * 32 + 23]).toBe(1); // the first position sees the whole of its document
    expect(global[0 * 32 + 24]).toBe(0); // and nothing of the next
    expect(local[10 * 32 + 13]).toBe(1);
    expect(local[10 * 32 + 14]).toBe(0);
  });

  it("makes nothing of globals under full attention", () => {
    const full = samplePattern(0, 1, true);
    expect(Math.max(...coarsen(full.groups[0], full, 32).global)).toBe(0);
  });
});

describe("attentionPicture", () => {
  it("draws every group, escaped, as one picture that can stand alone", () => {
    const groups = ["<b>", "b"].map((label) => ({ ...heads, label }));
    const svg = attentionPicture({ ...pattern, groups });
    expect(svg).not.toContain("<b>");
    const file = svgDocument(svg);
    const { document } = parseHTML(`<html><body>${file}</body></html>`);
    expect(document.querySelectorAll("svg svg svg").length).toBe(2);
    expect(document.querySelector("svg")?.textContent).toContain(
      `${Math.round(100 * shareSeen(heads, 32))} % of all pairs`,
    );
    expect(document.querySelector("style")?.textContent).toContain("--local:");
    expect(file).not.toContain("NaN");
  });

  it("says the steps of a dilated window", () => {
    const dilated = { label: "head 0", window: 32, dilation: 8, full: false, mask: new Uint8Array(4) };
    expect(describeHeads(dilated, { length: 2, isGlobal: [1, 0], groups: [dilated] })).toBe(
      "window of 32 each side, in steps of 8, 1 global position: sees 0 % of all pairs",
    );
  });

  it("works for one position", () => {
    const one = { length: 1, isGlobal: [0], groups: [{ ...heads, mask: [1] }] };
    expect(attentionPicture(one)).toContain("window of 3 each side");
    expect(describeHeads(one.groups[0], one)).toBe("window of 3 each side: sees 100 % of all pairs");
  });
});

it("shades runs of equal strength as one rectangle", () => {
  expect(shadePaths([1, 1, 0, 0.01, 0, 0], 3, "red")).toBe(
    '<path d="M0 1h1v1h-1z" fill="red" fill-opacity="0.5"/><path d="M0 0h2v1h-2z" fill="red" fill-opacity="1"/>',
  );
  expect(shadePaths([], 3, "red")).toBe("");
});

it("asks for a size when a picture has none", () => {
  expect(() => svgDocument("<svg></svg>")).toThrow("expected an <svg> element with a width");
});
