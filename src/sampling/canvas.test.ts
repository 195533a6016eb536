import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { tokenizeDocuments } from "../data/corpus.js";
import { packRows } from "../data/rows.js";
import type { Tokenizer } from "../data/tokenizer.js";
import { UserError } from "../errors.js";
import { buildCanvas, type Canvas } from "./canvas.js";
import { PLACEHOLDER, readCanvas, showCanvas } from "./canvas-text.js";
import { type GenerationRequest, parseTemplate } from "./request.js";
import { tinyRunConfig, tinyTokenizer, VOCAB_SIZE } from "./testing/tiny-model.js";

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await tinyTokenizer();
});

const config = tinyRunConfig("moe-diffuseq");
const build = (request: GenerationRequest, length = 20, extra = config): Canvas =>
  buildCanvas(request, extra, tokenizer, length);

/** The canvas with every target filled from a running list of ids. */
function fill(canvas: Canvas, ids: readonly number[]): Int32Array {
  let next = 0;
  return canvas.row.ids.map((id, p) => (canvas.target[p] === 1 ? ids[next++ % ids.length] : id));
}

describe("templates", () => {
  it("have gaps where [MASK:n] and [MASK] stand", () => {
    expect(parseTemplate("a [MASK:3]b[MASK]")).toEqual(["a ", { gap: 3 }, "b", { gap: 32 }, ""]);
    expect(parseTemplate("no gap")).toEqual(["no gap"]);
  });
  it.each(["[MASK:0]", "[MASK: 3]", "[MASK:x]", "[MASK:-1]", "[MASK:]"])("%s is refused", (template) => {
    expect(() => parseTemplate(template)).toThrow("expected [MASK] or [MASK:n]");
  });
});

describe("a canvas", () => {
  it("is a document as training packs it, without what is to be written", async () => {
    const settings: [Record<string, unknown>, number][] = [
      [{}, 2],
      [{ attention: { textGlobals: "separators", maxTextGlobals: 2, globalTokens: 2 } }, 4],
      [{ attention: { textGlobals: "source", maxTextGlobals: 5, globalTokens: 0 } }, 5],
    ];
    for (const [model, globals] of settings) {
      const run = tinyRunConfig("moe-diffuseq", { model });
      const documents = await tokenizeDocuments([{ source: "", src: "the cat", trg: "sat" }], tokenizer);
      const { attention } = run.model;
      const trained = packRows(documents, { ...attention, length: 30, tokenizer }).row(0);
      // The document ends with a [SEP], which is a target too.
      const length = tokenizer.encode("sat").length + 1;
      const { row, target } = build({ src: "the cat", length }, 99, run);
      const n = row.ids.length;
      expect(trained.segment.filter((s) => s === 0).length).toBe(n);
      expect(row.ids.filter((_, p) => target[p] === 0)).toEqual(
        trained.ids.subarray(0, n).filter((_, p) => target[p] === 0),
      );
      expect(row.given).toEqual(trained.given.subarray(0, n));
      expect(row.position).toEqual(trained.position.subarray(0, n));
      expect(row.globals).toEqual(trained.globals);
      expect(row.globals.length).toBe(globals);
    }
  });

  it("counts text tokens: globals, source and end come on top", () => {
    const globals = config.model.attention.globalTokens;
    const used = tokenizer.encode("the cat").length;
    expect(build({ length: 9 }).target.length).toBe(globals + 9);
    expect(build({ prompt: "the cat", length: 9 }).target.length).toBe(globals + 9);
    expect(build({ src: "the cat", length: 9 }).target.length).toBe(globals + used + 3 + 9);
    expect(build({ suffix: "the cat", length: 9 }).target.length).toBe(globals + 9 + 1);
    expect(Array.from(build({ prompt: "the cat", length: 9 }).target).filter(Boolean).length).toBe(9 - used);
  });

  it("leaves a source the room that training documents had", () => {
    const padded = tinyRunConfig("diffuseq", { data: { padTargets: 16 } });
    const source = tokenizer.encode("the cat").length + 3;
    expect(build({ src: "the cat" }, 100, padded).target.length).toBe(16);
    expect(build({ src: "the cat" }, 4, padded).target.length).toBe(source + 4);
    expect(build({ src: "the cat", length: 40 }, 100, padded).target.length).toBe(source + 40);
    const long = "the cat ".repeat(20);
    expect(() => build({ src: long }, 100, padded)).toThrow(
      /documents of 16 tokens in all[\s\S]*Shorten the source[\s\S]*`length` of the request/,
    );
    expect(() => build({ src: "the cat", prompt: "the cat sat on the mat ".repeat(4) }, 100, padded)).toThrow(
      /of the given text, got \d+, all that the source leaves of data.padTargets .*; raise --length/,
    );
    expect(build({ src: long, length: 2 }, 100, padded).target.filter((flag) => flag === 1)).toHaveLength(2);
  });

  it("says what is wrong with a request", () => {
    expect(() => build({ prompt: "the cat", length: 1 })).toThrow("more tokens than the");
    expect(() => build({ length: 0 })).toThrow("from 1 on");
    expect(() => build({ infill: "no gap" })).toThrow("at least one gap");
    expect(() => build({ infill: [{ gap: 0 }] })).toThrow("1 token or more");
    expect(() => build({ infill: "a[MASK]", prompt: "b" })).toThrow("no prompt");
    expect(() => build({ infill: "a[MASK]", length: 5 })).toThrow("length");
  });

  it.each([
    ["hello", 'request: expected an object such as { prompt: "We show" }, got "hello"'],
    [null, "request: expected an object"],
    [[{ prompt: "a" }], "request: expected an object"],
    [{ prmpt: "the" }, 'request: unknown key "prmpt"; did you mean "prompt"?'],
    [{ length: null }, "length: expected an integer from 1 on, at most 16777216, got null"],
    [{ length: 1e9 }, "length: expected an integer"],
    [{ infill: "[MASK:1000000000]" }, "expected at most 16777216 tokens in all, got 1000000000"],
    [{ prompt: 5 }, "prompt: expected text, got 5"],
    [{ prompt: null }, "prompt: expected text, got null"],
    [{ src: ["a", "b"] }, 'src: expected text, got ["a","b"]'],
    [{ infill: 5 }, "infill: expected text with [MASK]"],
    [{ infill: ["a", null] }, 'or a list of texts and gaps such as { gap: 8 }, got ["a",null]'],
    [{ infill: [{ gap: "4" }] }, "1 token or more"],
    [{ firstSample: 1.5 }, "firstSample: expected an integer from 0 on"],
  ])("refuses what is no request: %j", (request, message) => {
    expect(() => build(request as GenerationRequest)).toThrow(UserError);
    expect(() => build(request as GenerationRequest)).toThrow(message);
  });

  it("takes fields that are left out by undefined", () => {
    const open = { src: undefined, prompt: undefined, suffix: undefined, infill: undefined };
    expect(build({ ...open, length: undefined, firstSample: undefined })).toEqual(build({}));
  });
});

describe("the text of a canvas", () => {
  it("has given text to the byte, whatever stands in the gaps", () => {
    const odd = fc.string({ unit: "binary", maxLength: 12 });
    const parts = fc.array(fc.oneof(odd, fc.record({ gap: fc.integer({ min: 1, max: 5 }) })), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(
        parts,
        fc.array(fc.integer({ min: 3, max: VOCAB_SIZE - 1 }), { minLength: 1 }),
        (list, ids) => {
          const infill = [...list, { gap: 2 }];
          const canvas = build({ infill });
          const { text, gaps } = readCanvas(canvas, fill(canvas, ids), tokenizer);
          let next = 0;
          expect(text).toBe(infill.map((part) => (typeof part === "string" ? part : gaps[next++])).join(""));
          expect(gaps.length).toBe(next);
        },
      ),
      { numRuns: 25 },
    );
  });

  it("keeps half characters inside the gap", () => {
    const [first, , third] = tokenizer.encode("東");
    const canvas = build({ infill: ["Zoë", { gap: 1 }, "東京"] });
    expect(readCanvas(canvas, fill(canvas, [first]), tokenizer).text).toBe("Zoë\uFFFD東京");
    expect(readCanvas(canvas, fill(canvas, [third]), tokenizer).text).toBe("Zoë\uFFFD東京");
  });

  it("is cut at the first [SEP] of the last gap", () => {
    const [a] = tokenizer.encode("a");
    const { sep, pad } = tokenizer.special;
    const canvas = build({ prompt: "the ", length: tokenizer.encode("the ").length + 5 });
    const read = readCanvas(canvas, fill(canvas, [a, a, sep, a, sep]), tokenizer);
    expect(read).toMatchObject({ text: "the aa", gaps: ["aa"], ended: true });
    expect(tokenizer.decode(read.ids)).toBe("the aa");
    expect(readCanvas(canvas, fill(canvas, [a]), tokenizer)).toMatchObject({
      text: "the aaaaa",
      ended: false,
    });
    expect(readCanvas(canvas, fill(canvas, [sep]), tokenizer)).toMatchObject({ text: "the ", ended: true });
    expect(readCanvas(canvas, fill(canvas, [a, sep, pad]), tokenizer)).toMatchObject({ text: "the a" });
    const closed = build({ infill: "[MASK:2] the" });
    expect(readCanvas(closed, fill(closed, [a]), tokenizer)).toMatchObject({ text: "aa the", ended: true });
  });

  it("shows a placeholder for what is not settled", () => {
    const [a] = tokenizer.encode("a");
    const { sep } = tokenizer.special;
    const canvas = build({ infill: ["<", { gap: 3 }, ">", { gap: 4 }] });
    const ids = fill(canvas, [a, a, a, a, a, sep, a]);
    const settled = canvas.target.map((flag) => 1 - flag);
    const show = () => showCanvas(canvas, ids, settled, tokenizer);
    expect(show()).toBe(`<${PLACEHOLDER.repeat(3)}>${PLACEHOLDER.repeat(4)}`);
    const [first, second] = canvas.parts.filter(({ kind }) => kind === "gap");
    settled[first.start + 1] = 1;
    settled[second.start] = 1;
    expect(show()).toBe(`<${PLACEHOLDER}a${PLACEHOLDER}>a${PLACEHOLDER.repeat(3)}`);
    settled[second.start + 2] = 1; // [SEP]
    expect(show()).toBe(`<${PLACEHOLDER}a${PLACEHOLDER}>a${PLACEHOLDER}`);
    settled.fill(1);
    expect(show()).toBe(readCanvas(canvas, ids, tokenizer).text);
  });
});
