import { beforeAll, describe, expect, it } from "vitest";
import type { GenerationConfig, PartialRunConfig } from "../config/index.js";
import type { Tokenizer } from "../data/tokenizer.js";
import { UserError } from "../errors.js";
import { attentionReach, CanvasBlocks } from "./blocks.js";
import { buildCanvas, type Canvas } from "./canvas.js";
import type { GenerationRequest } from "./request.js";
import { tinyRunConfig, tinyTokenizer } from "./testing/tiny-model.js";

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await tinyTokenizer();
});

function blocksOf(
  request: GenerationRequest,
  settings: Partial<GenerationConfig>,
  extra: PartialRunConfig = {},
): CanvasBlocks {
  const config = tinyRunConfig("masked", { training: { sequenceLength: 30 }, ...extra });
  const generation = { ...config.generation, ...settings };
  return new CanvasBlocks(buildCanvas(request, config, tokenizer, 20), { ...config, generation });
}

/** Every canvas, each target filled with its position in the text. */
function canvases(blocks: CanvasBlocks): Canvas[] {
  const ids = blocks.whole.row.ids.slice();
  return Array.from({ length: blocks.count }, (_, block) => {
    const canvas = blocks.canvas(block, ids);
    const { start, end } = blocks.range(block);
    for (let p = start; p < end; p++) ids[p] = p;
    return canvas;
  });
}

const show = ({ row, target }: Canvas) => Array.from(row.ids, (id, p) => (target[p] === 1 ? "_" : id));

describe("a canvas in blocks", () => {
  it("slides over the text behind globals and source", () => {
    const source = tokenizer.encode("cat");
    const blocks = blocksOf({ src: "cat", length: 11 }, { blockLength: 4, contextLength: 5 });
    const { cls, sep } = tokenizer.special;
    const head = [272, 273, cls, ...source, sep, sep];
    const h = head.length;
    const all = canvases(blocks);
    expect(all.map(show)).toEqual([
      [...head, "_", "_", "_", "_"],
      [...head, h, h + 1, h + 2, h + 3, "_", "_", "_", "_"],
      [...head, h + 3, h + 4, h + 5, h + 6, h + 7, "_", "_", "_"],
    ]);
    expect(blocks.longest).toBe(h + 8);
    for (const { row, target } of all) {
      expect([...row.position]).toEqual([...target.keys()]);
      expect([...row.given]).toEqual(Array.from(target, (flag) => 1 - flag));
      expect([...row.segment]).toEqual(Array.from(target, () => 0));
      expect(row.globals).toEqual(blocks.whole.row.globals);
    }
    // The text may end in the last block, or in any with untilEnd.
    expect(all.map(({ endFrom, target }) => target.length - endFrom)).toEqual([0, 0, 3]);
    const free = canvases(blocksOf({ src: "cat", length: 11 }, { blockLength: 4, untilEnd: true }));
    expect(free.map(({ endFrom, target }) => target.length - endFrom)).toEqual([4, 4, 3]);
  });

  it("sees of a prompt what the context holds", () => {
    const prompt = "hhhhhh";
    const [first, second] = canvases(blocksOf({ prompt, length: 12 }, { blockLength: 4, contextLength: 5 }));
    const id = tokenizer.encode("h")[0];
    expect(tokenizer.encode(prompt).length).toBe(6);
    expect(show(first)).toEqual([272, 273, id, id, id, id, id, "_", "_", "_", "_"]);
    expect(first.parts).toEqual([
      { kind: "given", text: prompt, start: 2, end: 7 },
      { kind: "gap", start: 7, end: 11 },
    ]);
    expect(show(second)).toEqual([272, 273, id, 8, 9, 10, 11, "_", "_"]);
    expect(second.parts).toEqual([{ kind: "gap", start: 7, end: 9 }]);
  });

  it("is the whole canvas where one block holds the text", () => {
    for (const blockLength of [0, 20, 99])
      for (const request of [{}, { prompt: "the " }, { src: "cat" }, { length: 50 }]) {
        const { length = 20 } = request as { length?: number };
        const blocks = blocksOf(request, { blockLength: blockLength === 20 ? length : blockLength });
        expect([blocks.count, blocks.longest]).toEqual([1, blocks.whole.target.length]);
        expect(blocks.canvas(0, blocks.whole.row.ids)).toBe(blocks.whole);
      }
    const gaps = blocksOf({ infill: "[MASK:3]the[MASK:4]." }, { blockLength: 7, contextLength: 0 });
    expect([gaps.count, gaps.canvas(0, gaps.whole.row.ids)]).toEqual([1, gaps.whole]);
  });

  it("keeps in view what attention reaches, as far as training went", () => {
    const pattern = (attention: object) => tinyRunConfig("masked", { model: { attention } });
    expect(attentionReach(pattern({}))).toBe(3 + 3 + 1);
    expect(attentionReach(pattern({ dilation: [1, 2] }))).toBe(6 + 6 + 1);
    expect(attentionReach(pattern({ layers: { "1": { window: 5 } } }))).toBe(3 + 5 + 1);
    expect(attentionReach(pattern({ full: true }))).toBe(Number.POSITIVE_INFINITY);
    // Causal, the three taps lie to the left; a next-token model's input is one token further back.
    expect(attentionReach(pattern({ causal: true }))).toBe(3 + 3 + 2);
    const causal = { model: { attention: { full: false, window: 3 } } };
    expect(attentionReach(tinyRunConfig("autoregressive", causal))).toBe(3 + 3 + 2 + 1);
    const context = (blockLength: number, extra?: PartialRunConfig) => {
      const blocks = blocksOf({ length: 200 }, { blockLength }, extra);
      const { from, start } = blocks.range(blocks.count - 1);
      return start - from;
    };
    expect(context(4)).toBe(7);
    expect(context(24)).toBe(30 - 2 - 24);
    const full = { model: { attention: { full: true } } };
    expect(context(4, { ...full, training: { sequenceLength: 30 } })).toBe(30 - 2 - 4);
    expect(context(4, { ...full, data: { padTargets: 16 }, training: { sequenceLength: 30 } })).toBe(12);
  });

  it("refuses what does not fit, with what to do", () => {
    const refused = (request: GenerationRequest, settings: Partial<GenerationConfig>, message: string) => {
      expect(() => blocksOf(request, settings)).toThrow(UserError);
      expect(() => blocksOf(request, settings)).toThrow(message);
    };
    refused(
      { length: 60 },
      { blockLength: 28 },
      "generation.blockLength: expected at most 27 in a text of several blocks, got 28; the model was trained on 30 positions",
    );
    refused(
      { length: 60 },
      { blockLength: 20, contextLength: 9 },
      "generation.contextLength: expected at most 8 with generation.blockLength 20, got 9",
    );
    expect(blocksOf({ length: 60 }, { blockLength: 28, contextLength: 0 }).longest).toBe(30);
    refused({ src: "h".repeat(25), length: 60 }, { blockLength: 8 }, "shorten the source");
    const rest = "generation.blockLength: expected at least 15, the tokens of all gaps";
    refused({ suffix: "hhhhh" }, { blockLength: 8 }, rest);
    refused({ infill: "[MASK:7]the[MASK:8]" }, { blockLength: 8 }, rest);
    refused({ infill: [{ gap: 7 }, { gap: 8 }] }, { blockLength: 8 }, "or another gap follows a gap, got 8");
  });
});
