/** @file `moe-diffuseq inspect`: what a model consists of, what a step costs, and what its attention sees. */
import { join } from "node:path";
import type { Command } from "commander";
import { resolveConfig } from "../../config/resolve.js";
import { writeFileAtomic } from "../../hub/index.js";
import { type CommandHost, defineCommand } from "../command.js";
import { type Flags, pathName } from "../options.js";
import { requireResultFile } from "../result-file.js";

interface InspectFlags extends Flags {
  picture?: string;
}

export function registerInspect(program: Command, host: CommandHost): void {
  const command = program
    .command("inspect")
    .description("parameters total and active, FLOPs and memory of a step, the attention pattern")
    .option("--picture <file.svg>", "draw the attention pattern into this file", pathName);
  defineCommand<InspectFlags>(command, host, ["model", "config", "preset", "set"], async (flags) => {
    if (flags.picture !== undefined)
      await requireResultFile(flags.picture, { flag: "--picture", ending: ".svg" });
    const config = resolveConfig({
      base: flags.model === undefined ? undefined : join(flags.model, "config.json"),
      preset: flags.preset,
      configFile: flags.config,
      sets: flags.set,
    });
    const { costOf } = await import("../../model/cost.js");
    const { describeModel } = await import("../describe-model.js");
    const { batchSize, sequenceLength, emaDecay, activationCheckpointing } = config.training;
    const cost = costOf(config.model, {
      batchSize,
      length: sequenceLength,
      ema: emaDecay !== null,
      recompute: activationCheckpointing === "layers",
    });
    if (flags.picture !== undefined) {
      const { attentionGroups } = await import("../attention-groups.js");
      const { attentionPicture } = await import("../../report/charts/attention.js");
      const { svgDocument } = await import("../../report/charts/svg-document.js");
      const picture = svgDocument(attentionPicture(attentionGroups(config)));
      await writeFileAtomic(flags.picture, picture, "--picture");
    }
    const drawn = flags.picture === undefined ? "" : `\n\nPicture of the attention: ${flags.picture}`;
    return {
      json: { ...cost, batch: { batchSize, sequenceLength }, picture: flags.picture ?? null, config },
      text: `Preset         ${config.preset ?? "none"}\n${describeModel(config, cost)}${drawn}`,
    };
  });
}
