import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { StepEvent } from "../sampling/index.js";
import { DenoisingView, denoisingStep } from "./denoising-view.js";
import { memoryStream } from "./testing/memory-terminal.js";

beforeEach(() => vi.stubEnv("TERM", "xterm"));
afterEach(() => vi.unstubAllEnvs());

const words = { vocabSize: 10, decode: (ids: readonly number[]) => ids.map((id) => `w${id} `).join("") };
const event = (step: number, settled: number[]): StepEvent => ({
  step,
  of: 2,
  time: 1 - step / 2,
  batch: 1,
  batches: 1,
  block: 1,
  blocks: 1,
  samples: [
    {
      request: 0,
      sample: 0,
      before: "",
      ids: Int32Array.from([10, 1, 2, 3]),
      settled: Uint8Array.from([1, ...settled]),
      confidence: 0.5,
      text: "w1 \u001b[2J\nw3",
    },
  ],
  expertLoad: null,
  computed: 0,
  milliseconds: 1,
  finished: [],
});

it("leaves learned global tokens out", () => {
  const { tokens } = denoisingStep(event(1, [1, 0, 0]), words);
  expect(tokens.map(({ text, settled }) => [text, settled])).toEqual([
    ["w1 ", true],
    ["w2 ", false],
    ["w3 ", false],
  ]);
});

it("redraws in place on a terminal and leaves nothing behind", () => {
  const stream = memoryStream({ isTTY: true, columns: 60 });
  const view = new DenoisingView(Object.assign(stream, { rows: 24 }), words);
  view.show(event(1, [1, 0, 0]), "status one");
  view.show(event(2, [1, 1, 1]), "status two");
  expect(stream.text).toContain("w1");
  expect(stream.text).toContain("status two");
  const before = stream.text.length;
  view.clear();
  view.clear();
  const cleared = stream.text.slice(before);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: cursor up, erase to the end of the screen
  expect(cleared).toMatch(/^\r\u001b\[\d+A.*\u001b\[J$/);
});

it("takes a terminal that does not know its size for one of 80 columns and 24 rows", () => {
  const shown = [
    { columns: 0, rows: 0 },
    { columns: 80, rows: 24 },
  ].map((size) => {
    const stream = memoryStream({ isTTY: true });
    new DenoisingView(Object.assign(stream, size), words).show(event(1, [1, 0, 0]), "status");
    return stream.text;
  });
  expect(shown[0]).toBe(shown[1]);
  expect(shown[0]).toContain("status");
});

it("is without colours where NO_COLOR says something", () => {
  const shown = (noColor: string | undefined) => {
    vi.stubEnv("NO_COLOR", noColor);
    const stream = memoryStream({ isTTY: true, columns: 60 });
    new DenoisingView(Object.assign(stream, { rows: 24 }), words).show(event(1, [1, 0, 0]), "status");
    return stream.text;
  };
  expect(shown("")).toBe(shown(undefined));
  expect(shown("1")).not.toBe(shown(undefined));
});

it("prints a line a step elsewhere, without control characters", () => {
  const stream = memoryStream();
  const view = new DenoisingView(stream, words);
  view.show(event(1, [1, 0, 0]), "step 1/2");
  view.clear();
  expect(stream.text).toMatch(/^step 1\/2 {2}w1 .*w3\n$/);
  expect(stream.text).not.toContain("\u001b");
  vi.stubEnv("TERM", "dumb");
  const dumb = memoryStream({ isTTY: true });
  new DenoisingView(dumb, words).show(event(1, [1, 0, 0]), "step 1/2");
  expect(dumb.text).toBe(stream.text);
});

it("shows the end of the text before a block, and lights nothing of it", () => {
  const stream = memoryStream({ isTTY: true, columns: 60 });
  const view = new DenoisingView(Object.assign(stream, { rows: 13 }), words);
  view.show(event(2, [1, 1, 1]), "status");
  const later = event(1, [1, 0, 0]);
  const before = `${"long ago ".repeat(60)}just now, `;
  const start = stream.text.length;
  view.show({ ...later, block: 2, blocks: 2, samples: [{ ...later.samples[0], before }] }, "status");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours and cursor movements
  const lines = stream.text.slice(start).replaceAll(/\u001b\[[\d;]*[A-Za-z]/g, "");
  expect(lines).toMatch(/just now,\s+w1/);
  expect(lines.split("\n").length).toBeLessThanOrEqual(12);
  expect(lines).toContain("33 % settled");
});
