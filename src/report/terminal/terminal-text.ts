/**
 * @file Text that a terminal shows as text: nothing in it can move the cursor, change colours or turn the line around, and its
 * width in cells is known.
 */
import stringWidth from "string-width";

const TAB_WIDTH = 4;

const LINE_ENDS = /\r\n?|[\u2028\u2029]/g;
/** Bytes that a terminal takes as commands (C0, DEL, C1), and halves of surrogate pairs. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]|\p{Surrogate}/gu;
/** Format characters without a shape: they reorder or hide their neighbours. The joiner of emoji stays. */
const FORMATS = /(?!\u200d)\p{Cf}/gu;

/** The text with every command in it made visible as U+FFFD, tabs as spaces, line ends as \n. */
export function printable(text: string): string {
  return text
    .replace(LINE_ENDS, "\n")
    .replaceAll("\t", " ".repeat(TAB_WIDTH))
    .replace(CONTROLS, "\ufffd")
    .replace(FORMATS, "");
}

/** A character as a reader counts them, and the cells it takes: 1, 2 for wide ones, seldom 0 or 3. "\n" takes 0. */
export interface Cell {
  readonly text: string;
  readonly width: number;
}

const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });
const ASCII = /^[\n\u0020-\u007e]*$/;

/** The characters of a printable text. */
export function cellsOf(text: string): Cell[] {
  if (ASCII.test(text)) return Array.from(text, (c) => ({ text: c, width: c === "\n" ? 0 : 1 }));
  return Array.from(graphemes.segment(text), ({ segment }) => ({
    text: segment,
    width: segment === "\n" ? 0 : stringWidth(segment),
  }));
}

/**
 * Lines of at most `width` cells: broken at spaces where there are any, and at "\n". Spaces at a break are dropped; a
 * character wider than the line is too.
 */
export function wrap<T extends Cell>(cells: readonly T[], width: number): T[][] {
  const lines: T[][] = [];
  let line: T[] = [];
  let used = 0;
  const breakBefore = (rest: T[]) => {
    lines.push(line);
    line = rest;
    used = rest.reduce((sum, cell) => sum + cell.width, 0);
  };
  for (const cell of cells) {
    if (cell.text !== "\n" && cell.width > width) continue;
    if (cell.text === "\n" || (cell.text === " " && used + cell.width > width)) {
      breakBefore([]);
      continue;
    }
    while (used + cell.width > width) {
      const space = line.findLastIndex((earlier) => earlier.text === " ");
      breakBefore(space <= 0 ? [] : line.splice(space).slice(1));
    }
    line.push(cell);
    used += cell.width;
  }
  if (line.length > 0) lines.push(line);
  return lines;
}
