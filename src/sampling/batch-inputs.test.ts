import { beforeAll, expect, it, vi } from "vitest";
import type { Tokenizer } from "../data/tokenizer.js";
import { BatchInputs } from "./batch-inputs.js";
import { buildCanvas } from "./canvas.js";
import { SamplingProcess } from "./sampling-times.js";
import { tinyRunConfig, tinyTokenizer } from "./testing/tiny-model.js";

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await tinyTokenizer();
});

it.each([false, true])(
  "of the rows, a step writes the tokens that have changed and nothing else (guided: %s)",
  (guided) => {
    const config = tinyRunConfig("masked");
    const canvases = [{ src: "the cat" }, { prompt: "the " }].map((request) =>
      buildCanvas(request, config, tokenizer, 20),
    );
    const plans = canvases.map((canvas, sequence) => ({ canvas, sequence }));
    const shape = { batchSize: 3, length: 64, globalSlots: 4 };
    const inputs = new BatchInputs(config, plans, { shape, guided, gaussian: false, padding: 0 });
    const process = new SamplingProcess(config.diffusion);
    const feeds = () => inputs.feeds(process, 0.5, { positions: [], uniforms: [] }, config.generation);
    const first = feeds();
    const ids = BigInt64Array.from(first.ids.data as BigInt64Array);
    const { ids: own } = inputs.memoryOf(1, 20);
    own[7] = 55;
    const converted = vi.spyOn(globalThis, "BigInt");
    const second = feeds();
    const conversions = converted.mock.calls.length;
    converted.mockRestore();
    expect(conversions).toBeLessThan(10);
    for (const b of guided ? [1, 4] : [1]) ids[b * 64 + 7] = 55n;
    expect(second.ids.data).toEqual(ids);
  },
);
