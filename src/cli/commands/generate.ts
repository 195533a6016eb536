/** @file `moe-diffuseq generate`: texts from a trained model, free, continued, conditional or infilled. */
import type { Command } from "commander";
import type { Generation, GenerationRequest, StepEvent } from "../../sampling/index.js";
import { parseTemplate } from "../../sampling/request.js";
import { type CommandHost, defineCommand } from "../command.js";
import { DenoisingView, type Words } from "../denoising-view.js";
import { formatCount, formatDuration } from "../format.js";
import { generationSettings } from "../generation-settings.js";
import { Interrupted, stoppedBy } from "../interrupt.js";
import type { Flags } from "../options.js";
import { ProgressLine } from "../progress-line.js";
import type { CommandResult, OutputStream } from "../terminal.js";

const examples = `
Examples:
  npx moe-diffuseq generate --model runs/masked --length 512 --stream
  npx moe-diffuseq generate --model runs/masked --prompt "We show that" --num 3
  npx moe-diffuseq generate --model runs/pairs --src "a sentence to rewrite"
  npx moe-diffuseq generate --model runs/pairs --src "a sentence to rewrite" --candidates 10 --select mbr
  npx moe-diffuseq generate --model runs/abstracts --sampler dpm-solver++ --order 2 --steps 20
  npx moe-diffuseq generate --model runs/masked --length 65536 --block-length 512 --steps 8
  npx moe-diffuseq generate --model runs/masked --infill draft.txt

Defaults: the model's own settings (generation_config.json in its folder); meanings: npx moe-diffuseq config --list`;

interface GenerateFlags extends Flags {
  model: string;
  suffix?: string;
}

async function readRequest({
  src,
  prompt,
  suffix,
  infill,
  length,
}: GenerateFlags): Promise<GenerationRequest & { readonly infill: string | undefined }> {
  if (infill === undefined) return { src, prompt, suffix, length, infill };
  const { readTextFile } = await import("../../data/index.js");
  const text = await readTextFile(infill, `the template ${infill}`);
  // Editors end a file with the end of a line, which is no text behind its last gap.
  const template = text.replace(/(\[MASK(?::\d+)?\])\n$/, "$1");
  return { src, prompt, suffix, length, infill: template };
}

/** Whether what is written is one piece, at the text's end. */
function isOpenEnded({ suffix = "", infill }: Pick<GenerateFlags, "suffix" | "infill">): boolean {
  if (infill === undefined) return suffix === "";
  const parts = parseTemplate(infill).filter((part) => part !== "");
  return parts.findIndex((part) => typeof part !== "string") === parts.length - 1;
}

/** Whether anything is given. Of an empty source the model sees that there is one; an empty beginning or end is none. */
const isConditioned = ({ src, infill, prompt = "", suffix = "" }: GenerateFlags): boolean =>
  src !== undefined || infill !== undefined || prompt !== "" || suffix !== "";

/** Shows denoising on standard error: the text itself where `words` are given (`--stream`), else a live line. */
export function showSteps(stream: OutputStream, words: Words | null) {
  const view = words ? new DenoisingView(stream, words) : null;
  const line = new ProgressLine(stream);
  let milliseconds = 0;
  let steps = 0;
  return {
    onStep(event: StepEvent): void {
      const { step, of, batch, batches, block, blocks, samples } = event;
      milliseconds += event.milliseconds;
      steps++;
      const tokens = samples.reduce((sum, { settled }) => sum + settled.length, 0);
      const settled = samples.reduce((sum, sample) => sum + sample.settled.reduce((a, b) => a + b, 0), 0);
      const stepsLeft = ((batches - batch) * blocks + blocks - block) * of + of - step;
      const left = (stepsLeft * milliseconds) / steps / 1000;
      const status = [
        batches > 1 ? `batch ${batch}/${batches}` : "",
        blocks > 1 ? `block ${block}/${blocks}` : "",
        `step ${step}/${of}`,
        tokens > 0 ? `${Math.round((100 * settled) / tokens)}% settled` : "",
        `${formatDuration(left)} left`,
      ];
      const text = status.filter((part) => part !== "").join("  ");
      if (view) view.show(event, text);
      else line.update(text);
    },
    end(): void {
      view?.clear();
      line.end();
    },
  };
}

function printTexts(texts: readonly Generation[]): string {
  if (texts.length === 1) return texts[0].text;
  return texts.map(({ text }, index) => `=== ${index + 1} of ${texts.length} ===\n${text}`).join("\n\n");
}

export function registerGenerate(program: Command, host: CommandHost): void {
  const command = program
    .command("generate")
    .description("write text with a trained model")
    .option("--suffix <text>", "text that the result ends with")
    .addHelpText("after", examples);
  defineCommand<GenerateFlags>(
    command,
    host,
    [
      "model!",
      "prompt",
      "src",
      "infill",
      "length",
      "blockLength",
      "contextLength",
      "untilEnd",
      "steps",
      "cacheInterval",
      "sampler",
      "order",
      "timeGrid",
      "release",
      "temperature",
      "topK",
      "topP",
      "seed",
      "num",
      "guidance",
      "candidates",
      "select",
      "repetitionPenalty",
      "stream",
      "set",
      "dtype",
      "threads",
      "device",
    ],
    async (flags, { terminal, signal }): Promise<CommandResult> => {
      const request = await readRequest(flags);
      const { DiffusionModel, generateSteps } = await import("../../sampling/index.js");
      const { readPretrainedConfig } = await import("../../sampling/pretrained.js");
      const { remarksOnRequest, remarksOnTexts } = await import("../generation-remarks.js");
      const config = await readPretrainedConfig(flags.model);
      const settings = generationSettings(config, flags, {
        conditioned: isConditioned(flags),
        template: flags.infill !== undefined,
        openEnd: isOpenEnded(request),
      });
      const model = await DiffusionModel.fromPretrained(flags.model, {
        threads: flags.threads,
        device: flags.device,
        dtype: flags.dtype,
      });
      const remarks: string[] = [];
      const remark = (more: readonly string[]) => {
        remarks.push(...more);
        for (const text of more) terminal.stderr.write(`${text}\n`);
      };
      const show = showSteps(terminal.stderr, flags.stream ? model.tokenizer : null);
      const texts: Generation[] = [];
      const began = performance.now();
      let [most, stepsOfBatch] = [0, 0];
      try {
        remark(await remarksOnRequest(flags.model, request, { ...config, generation: settings }, model));
        const options = { signal, samples: flags.stream === true };
        for await (const event of generateSteps(model, [request], settings, options)) {
          show.onStep(event);
          if (event.step === 1) stepsOfBatch = event.of + (event.block === 1 ? 0 : stepsOfBatch);
          most = Math.max(most, stepsOfBatch);
          texts.push(...event.finished);
        }
      } catch (error) {
        // Whole texts that are there are worth having.
        if (texts.length === 0 || !stoppedBy(signal, error)) throw error;
      } finally {
        show.end();
        await model.dispose();
      }
      const seconds = (performance.now() - began) / 1000;
      const tokens = texts.reduce((sum, { ids }) => sum + ids.length, 0);
      const steps = texts.reduce((ran, text) => Math.max(ran, text.steps), 0);
      const stopped = texts.length < settings.num;
      if (stopped) terminal.stderr.write(`Stopped after ${texts.length} of ${settings.num} texts.\n`);
      const early = steps < most ? `, settled after ${steps} of ${most} steps` : "";
      terminal.stderr.write(`${formatCount(tokens)} tokens in ${formatDuration(seconds)}${early}\n`);
      remark(remarksOnTexts(texts));
      return {
        json: {
          model: flags.model,
          remarks,
          texts: texts.map(({ text, gaps, ids, ended, sample, steps, blocks, choice }) => ({
            text,
            gaps,
            tokens: ids.length,
            ended,
            sample,
            steps,
            blocks,
            choice,
          })),
          settings,
          tokens,
          seconds,
        },
        text: printTexts(texts),
        exitCode: stopped && signal.reason instanceof Interrupted ? signal.reason.exitCode : 0,
      };
    },
  );
}
