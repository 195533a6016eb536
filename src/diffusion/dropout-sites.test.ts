import { expect, it } from "vitest";
import { presetNames } from "../config/index.js";
import { cpuTarget, webgpuTarget, writeOnnx } from "../graph/index.js";
import { trainingModule } from "./modules.js";
import { makeRow, tinyBatch, tinyConfig } from "./testing/tiny.js";

it.each(presetNames)(
  "%s: sites of dropout come in one order, whatever the device and what is kept",
  (preset) => {
    const config = tinyConfig(preset, { model: { numLayers: 2, dropout: 0.1 } });
    const { shape } = tinyBatch(config, [makeRow(config, 0, [9], 13)]);
    const sites = [cpuTarget, webgpuTarget].flatMap((target) =>
      (["none", "layers"] as const).map((checkpointing) =>
        writeOnnx(trainingModule(config, shape, checkpointing), target)
          .inputs.map(({ name }) => name)
          .filter((name) => name.startsWith("dropout:")),
      ),
    );
    expect(sites[0].length).toBeGreaterThan(2);
    for (const other of sites) expect(other).toEqual(sites[0]);
  },
);
