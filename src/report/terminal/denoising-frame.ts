/**
 * @file A document coming into focus in a terminal: dots where nothing has settled yet, what has just settled lit up.
 */
import { createColors } from "picocolors";
import type { DenoisingToken } from "../data.js";
import { exact, percent } from "../numbers.js";
import { sparkline } from "./sparkline.js";
import { type Cell, cellsOf, printable, wrap } from "./terminal-text.js";

export interface DenoisingFrame {
  readonly tokens: readonly DenoisingToken[];
  /** The tokens of the frame before: what has settled since is lit. Default: nothing is. */
  readonly previous?: readonly DenoisingToken[];
  /** Columns and rows that may be used. */
  readonly width: number;
  readonly height: number;
  /** Steps done, and steps there are. */
  readonly step: number;
  readonly of: number;
  /** ANSI colours. Default true. */
  readonly color?: boolean;
}

type State = "given" | "settled" | "fresh" | "pending";

interface StatefulCell extends Cell {
  readonly state: State;
}

/** Stands for a token that there is no guess for. */
const NO_GUESS = "···· ";
const MIN_WIDTH = 20;

/**
 * One frame as lines joined by "\n", without one at the end: a line of progress, the text as far as it fits, and, where it does
 * not, a line with the settled share along the whole document.
 *
 * Never more than `height` lines (at least 2) of `width` cells (at least 20). Escape sequences and other controls in the
 * tokens' text are shown, not obeyed.
 */
export function denoisingFrame(frame: DenoisingFrame): string {
  const width = Math.max(MIN_WIDTH, Math.floor(frame.width));
  const height = Math.max(2, Math.floor(frame.height));
  const paint = painter(frame.color ?? true);
  const cells = frame.tokens.flatMap((token, i) => tokenCells(token, frame.previous?.[i]));
  const lines = wrap(cells, width);
  const fits = lines.length <= height - 1;
  const shown = lines.slice(0, fits ? lines.length : Math.max(0, height - 2));
  return [
    progress(frame, width, paint),
    ...shown.map((line) => paintLine(line, paint)),
    ...(fits ? [] : [overview(frame.tokens, width, paint)]),
  ].join("\n");
}

/** What to write so that `frame` takes the place of `previous`, whose last line the cursor is on. */
export function redrawFrame(frame: string, previous: string | null): string {
  const up = previous === null ? 0 : previous.split("\n").length - 1;
  const begin = previous === null ? "" : `\r${up > 0 ? `\u001b[${up}A` : ""}`;
  return `${begin}${frame.replaceAll("\n", "\u001b[K\n")}\u001b[K\u001b[J`;
}

const isSettled = (token: DenoisingToken) => token.settled || token.given === true;

function tokenCells(token: DenoisingToken, before: DenoisingToken | undefined): StatefulCell[] {
  const text = printable(token.text);
  if (!isSettled(token)) return cellsOf(text === "" ? NO_GUESS : text).map(dot);
  const state = token.given ? "given" : before !== undefined && !isSettled(before) ? "fresh" : "settled";
  // Words are lit, not the spaces between them.
  return cellsOf(text).map((cell) => ({
    ...cell,
    state: state === "fresh" && cell.text === " " ? "settled" : state,
  }));
}

/** A guess keeps the shape of its word, so that lines stay where they are when it settles. */
function dot({ text, width }: Cell): StatefulCell {
  return { text: text === " " || text === "\n" ? text : "·".repeat(width), width, state: "pending" };
}

type Painter = Readonly<Record<State | "quiet" | "strong", (text: string) => string>>;

function painter(color: boolean): Painter {
  const colors = createColors(color);
  return {
    given: colors.green,
    settled: String,
    fresh: (text) => colors.bgYellow(colors.black(text)),
    pending: colors.dim,
    quiet: colors.dim,
    strong: colors.bold,
  };
}

/** Neighbours of one state in one pair of codes. */
function paintLine(line: readonly StatefulCell[], paint: Painter): string {
  let painted = "";
  for (let from = 0; from < line.length; ) {
    let to = from;
    let text = "";
    while (to < line.length && line[to].state === line[from].state) text += line[to++].text;
    painted += paint[line[from].state](text);
    from = to;
  }
  return painted;
}

function progress({ tokens, step, of }: DenoisingFrame, width: number, paint: Painter): string {
  const written = tokens.filter((token) => !token.given);
  const share = written.length === 0 ? 1 : written.filter(isSettled).length / written.length;
  const left = `step ${exact(step)}/${exact(of)}`.slice(0, width);
  const right = `${percent(share)} settled`;
  const bar = Math.min(40, width - left.length - right.length - 4);
  if (bar < 4) return paint.strong(left);
  const full = Math.floor(share * bar);
  return `${paint.strong(left)}  ${"━".repeat(full)}${paint.quiet("━".repeat(bar - full))}  ${right}`;
}

function overview(tokens: readonly DenoisingToken[], width: number, paint: Painter): string {
  const words = ` all ${exact(tokens.length)} tokens`;
  const room = width - words.length;
  if (room < 4) return "";
  const shares = tokens.map((token) => Number(isSettled(token)));
  return paint.quiet(sparkline(shares, { width: room, min: 0, max: 1 }) + words);
}
