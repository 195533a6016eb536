/**
 * @file A document coming into focus, in HTML: frames side by side, which a script stacks into one that plays, and a map of
 * which positions had settled when.
 */
import { pick } from "./charts/series.js";
import { shadePaths, svgCells, svgElement, svgText } from "./charts/svg.js";
import type { DenoisingStep, DenoisingToken } from "./data.js";
import { type Html, html } from "./html.js";
import { exact, percent } from "./numbers.js";
import { chart } from "./page.js";

const MAX_FRAMES = 9;
/** Tokens of a frame; the whole text stands further below in the report. */
const MAX_TOKENS = 1200;
const MAP_COLUMNS = 240;
const MAP_ROWS = 48;
/** Stands where there is no guess yet. */
const NOTHING = "░░ ";

type State = "given" | "settled" | "fresh" | "pending";

/** Neighbours of one state share an element: <u> given, <mark> settled since the frame before, <i> not settled. */
const WRAP: Readonly<Record<State, (text: string) => Html>> = {
  given: (text) => html`<u>${text}</u>`,
  settled: (text) => html`${text}`,
  fresh: (text) => html`${/^\s*/.exec(text)?.[0]}<mark>${text.trimStart()}</mark>`,
  pending: (text) => html`<i>${text}</i>`,
};

const isSettled = (token: DenoisingToken | undefined) =>
  token !== undefined && (token.settled || token.given);

/** Share of the positions to be written that have settled; 1 where all is given. */
function settledShare({ tokens }: DenoisingStep): number {
  const written = tokens.filter((token) => !token.given);
  return written.length === 0 ? 1 : written.filter((token) => token.settled).length / written.length;
}

function frameText({ tokens }: DenoisingStep, before: DenoisingStep | undefined): Html[] {
  const runs: { state: State; text: string }[] = [];
  for (const [i, token] of tokens.slice(0, MAX_TOKENS).entries()) {
    const state: State = token.given
      ? "given"
      : !token.settled
        ? "pending"
        : before && !isSettled(before.tokens[i])
          ? "fresh"
          : "settled";
    const text = token.text === "" && state === "pending" ? NOTHING : token.text;
    const last = runs[runs.length - 1];
    if (last?.state === state) last.text += text;
    else runs.push({ state, text });
  }
  return runs.map(({ state, text }) => WRAP[state](text));
}

function frame(step: DenoisingStep, before: DenoisingStep | undefined, of: number): Html {
  return html`<figure class="frame"><figcaption><b>step ${exact(step.step)}</b> of ${exact(of)} · time ${step.time.toFixed(2)} · ${percent(settledShare(step))} settled</figcaption><div class="words">${frameText(step, before)}</div></figure>`;
}

/** Rows are steps from noise (top) to text, columns are positions: the darker, the more of them have settled. */
export function settlingMapSvg(steps: readonly DenoisingStep[]): string {
  const rows = pick(steps, MAP_ROWS);
  const length = Math.max(1, ...rows.map((step) => step.tokens.length));
  const columns = Math.min(MAP_COLUMNS, length);
  const shares = (wanted: (token: DenoisingToken) => boolean | undefined) => {
    const cells = new Float64Array(rows.length * columns);
    for (const [row, { tokens }] of rows.entries())
      for (const [i, token] of tokens.entries()) {
        const column = Math.floor((i * columns) / length);
        const size = Math.ceil(((column + 1) * length) / columns) - Math.ceil((column * length) / columns);
        if (wanted(token)) cells[row * columns + column] += 1 / size;
      }
    return cells;
  };
  const [width, height, left, bottom] = [1000, Math.max(60, Math.min(150, rows.length * 10)), 66, 22];
  return svgElement(
    {
      width: width + left,
      height: height + bottom,
      description: `Which of the ${exact(length)} positions had settled at which step`,
    },
    `<g transform="translate(${left} 0)" font-size="12"><rect width="${width}" height="${height}" fill="var(--paper)"/>`,
    svgCells(
      width / columns,
      height / rows.length,
      shadePaths(
        shares((token) => token.settled && !token.given),
        columns,
        "var(--train)",
      ),
      shadePaths(
        shares((token) => token.given),
        columns,
        "var(--given)",
      ),
    ),
    svgText(-8, 11, "end", `step ${exact(rows[0].step)}`),
    svgText(-8, height - 2, "end", `step ${exact(rows[rows.length - 1].step)}`),
    svgText(0, height + 17, "start", "first position"),
    svgText(width, height + 17, "end", exact(length)),
    "</g>",
  );
}

/** Frames and map of one generation. Without the page's script the frames stand side by side. */
export function denoisingFilm(steps: readonly DenoisingStep[]): Html {
  const frames = pick(steps, MAX_FRAMES);
  const of = steps[steps.length - 1].step;
  const length = Math.max(...steps.map((step) => step.tokens.length));
  return html`<div class="film" data-film>${frames.map((step, i) => frame(step, frames[i - 1], of))}</div>
${length > MAX_TOKENS && html`<p class="note">The first ${exact(MAX_TOKENS)} of ${exact(length)} tokens.</p>`}
${chart(settlingMapSvg(steps), "Every row is a step, every column a place in the document; colour means settled. Vertical stripes are places that settled early.")}`;
}
