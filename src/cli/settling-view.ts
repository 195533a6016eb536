/**
 * @file Text that settles: redrawn in place at every denoising step on a terminal, one line a step elsewhere.
 */
import stringWidth from "string-width";
import type { OutputStream } from "./terminal.js";

/** Lines of a terminal left free for the prompt. */
const MARGIN = 2;
const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Control characters would move the cursor or turn the line around; they are shown as a dot. Tabs become spaces. */
function printable(text: string): string {
  return text
    .replaceAll("\t", "    ")
    .replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (character) => (character === "\n" ? "\n" : "·"));
}

/** Cuts text into lines of at most `columns` cells; no character is cut in two. */
export function wrapText(text: string, columns: number): string[] {
  return printable(text)
    .split("\n")
    .flatMap((paragraph) => {
      const lines: string[] = [];
      let line = "";
      let width = 0;
      for (const { segment } of segmenter.segment(paragraph)) {
        const cells = stringWidth(segment);
        if (width + cells > columns && line !== "") {
          lines.push(line);
          line = "";
          width = 0;
        }
        line += segment;
        width += cells;
      }
      return [...lines, line];
    });
}

export class SettlingView {
  private drawn = 0;

  constructor(private readonly stream: OutputStream & { rows?: number }) {}

  /** Shows `text` as it stands, with `status` under it. A text longer than the terminal shows its beginning. */
  show(text: string, status: string): void {
    if (!this.stream.isTTY) {
      const start = wrapText(text.replaceAll("\n", " "), 72)[0];
      this.stream.write(`${status}  ${start}\n`);
      return;
    }
    const columns = (this.stream.columns ?? 80) - 1;
    const room = Math.max(1, (this.stream.rows ?? 24) - MARGIN - 1);
    const lines = wrapText(text, columns);
    const visible = lines.length > room ? [...lines.slice(0, room - 1), "…"] : lines;
    this.clear();
    this.stream.write(`${[...visible, wrapText(status, columns)[0]].join("\n")}\n`);
    this.drawn = visible.length + 1;
  }

  /** Takes the view off the terminal again: the finished text is printed as the result. */
  clear(): void {
    if (this.drawn > 0) this.stream.write(`\u001b[${this.drawn}A\r\u001b[J`);
    this.drawn = 0;
  }
}
