/**
 * @file A document coming into focus: redrawn in place at every denoising step on a terminal, one line a step elsewhere.
 */
import type { DenoisingStep, DenoisingToken } from "../report/data.js";
import { denoisingFrame, redrawFrame } from "../report/terminal/denoising-frame.js";
import { printable } from "../report/terminal/terminal-text.js";
import type { StepEvent } from "../sampling/index.js";
import { isLive, type OutputStream } from "./terminal.js";

/** Rows of a terminal left free for the prompt and the status line. */
const MARGIN = 3;
/** Characters of the text that a line shows where nothing can be redrawn. */
const LINE_LENGTH = 72;

/** What is needed of a tokenizer to show single tokens. */
export interface Words {
  readonly vocabSize: number;
  decode(ids: readonly number[]): string;
}

/** The first sample of an event as the report room shows it: learned global tokens, which are no text, left out. */
export function denoisingStep({ step, time, samples: [sample] }: StepEvent, words: Words): DenoisingStep {
  const tokens = Array.from(sample.ids, (id, i) => ({ id, settled: sample.settled[i] === 1 }))
    .filter(({ id }) => id < words.vocabSize)
    .map(({ id, settled }) => ({ text: words.decode([id]), settled }));
  return { step, time, tokens };
}

export class DenoisingView {
  private frame: string | null = null;
  private tokens: readonly DenoisingToken[] | undefined;
  private block = 1;

  constructor(
    private readonly stream: OutputStream & { rows?: number },
    private readonly words: Words,
  ) {}

  /**
   * Shows the first sample as it stands, with `status` under it. A text in blocks: the current one, behind as much of the text before it
   * as half of the terminal takes. A text longer than the terminal shows its beginning.
   */
  show(event: StepEvent, status: string): void {
    const { stream } = this;
    if (!isLive(stream)) {
      const start = printable(event.samples[0].text).replaceAll("\n", " ").slice(0, LINE_LENGTH);
      stream.write(`${status}  ${start}\n`);
      return;
    }
    const width = (stream.columns || 80) - 1;
    const height = (stream.rows || 24) - MARGIN;
    const { before } = event.samples[0];
    const tail = before.slice(-Math.max(1, Math.floor(height / 2) * width));
    const tokens = [
      ...(before === "" ? [] : [{ text: tail, settled: true, given: true }]),
      ...denoisingStep(event, this.words).tokens,
    ];
    const frame = denoisingFrame({
      tokens,
      // Another block is another text.
      previous: event.block === this.block ? this.tokens : undefined,
      width,
      height,
      step: event.step,
      of: event.of,
      color: !process.env.NO_COLOR, // empty counts as not set (no-color.org)
    });
    const shown = `${frame}\n${status.slice(0, width)}`; // a line that wraps would not be erased
    stream.write(redrawFrame(shown, this.frame));
    this.frame = shown;
    this.tokens = tokens;
    this.block = event.block;
  }

  /** Takes the view off the terminal again: the finished text is printed as the result. */
  clear(): void {
    if (this.frame !== null) this.stream.write(redrawFrame("", this.frame));
    this.frame = null;
  }
}
