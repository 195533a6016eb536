/**
 * @file The live line of a long job: rewritten in place on a terminal, printed every few seconds elsewhere (a log file,
 * CI), so that both stay readable.
 */
import { formatCount, formatDuration } from "./format.js";
import { isLive, type OutputStream } from "./terminal.js";

const CLEAR_LINE = "\r\u001b[K";

export interface ProgressLineOptions {
  /** Seconds between lines when the stream is no terminal. Default 10. */
  everySeconds?: number;
  /** Seconds between redraws on a terminal. Default 0.1. */
  redrawSeconds?: number;
  /** Milliseconds, from any origin. */
  now?: () => number;
}

export class ProgressLine {
  private text = "";
  private printed = "";
  private last = Number.NEGATIVE_INFINITY;
  private readonly live: boolean;
  private readonly pauseMs: number;
  private readonly now: () => number;

  constructor(
    private readonly stream: OutputStream,
    { everySeconds = 10, redrawSeconds = 0.1, now = () => performance.now() }: ProgressLineOptions = {},
  ) {
    this.live = isLive(stream);
    this.pauseMs = 1000 * (this.live ? redrawSeconds : everySeconds);
    this.now = now;
  }

  /** Shows `text` now, or with the next update if the last one is too recent. */
  update(text: string): void {
    this.text = text;
    if (this.now() - this.last >= this.pauseMs) this.draw();
  }

  /** A line that stays, above the live one. */
  note(text: string): void {
    if (!this.live) {
      this.stream.write(`${text}\n`);
      return;
    }
    this.stream.write(`${CLEAR_LINE}${text}\n`);
    this.printed = "";
    if (this.text) this.draw();
  }

  /** Leaves the latest text standing and ends the line. */
  end(): void {
    if (this.text && this.text !== this.printed) this.draw();
    if (this.live && this.printed) this.stream.write("\n");
    this.text = "";
    this.printed = "";
  }

  private draw(): void {
    this.last = this.now();
    this.printed = this.text;
    if (!this.live) {
      this.stream.write(`${this.text}\n`);
      return;
    }
    const width = (this.stream.columns || 80) - 1; // one short of the edge: a full line would wrap
    this.stream.write(
      CLEAR_LINE + (this.text.length > width ? `${this.text.slice(0, width - 1)}…` : this.text),
    );
  }
}

export interface TrainingProgress {
  step: number;
  /** Steps in all, when the budget is counted in steps. */
  totalSteps?: number | null;
  loss: number;
  tokensPerSecond: number;
  /** Seconds left, null while unknown. */
  secondsLeft: number | null;
}

/** `step 120/2000  loss 5.9312  3.41k tokens/s  12m 05s left` */
export function trainingLine({
  step,
  totalSteps,
  loss,
  tokensPerSecond,
  secondsLeft,
}: TrainingProgress): string {
  return [
    totalSteps ? `step ${step}/${totalSteps}` : `step ${step}`,
    `loss ${loss.toFixed(4)}`,
    `${formatCount(tokensPerSecond)} tokens/s`,
    secondsLeft === null ? "" : `${formatDuration(secondsLeft)} left`,
  ]
    .filter((part) => part !== "")
    .join("  ");
}
