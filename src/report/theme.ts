/**
 * @file The colours of reports, as CSS variables for a light and a dark scheme. Charts name them (`var(--valid)`), so one
 * drawing serves both.
 */

/** Steps of the scale from idle over even (the middle) to overloaded. */
export const LOAD_STEPS = 9;

/** Lines that are told apart by colour: `seriesColor(i)`, then again from the start. */
const SERIES = 7;

const light: Readonly<Record<string, string>> = {
  paper: "#faf9f6",
  surface: "#ffffff",
  ink: "#1d1c1a",
  muted: "#6a675f",
  faint: "#a5a197",
  line: "#e5e2da",
  train: "#2f68b0",
  valid: "#c24a17",
  baseline: "#837f76",
  local: "#2f68b0",
  global: "#dd9a25",
  fresh: "#ffe6a1",
  given: "#2f7a53",
  "series-0": "#2f68b0",
  "series-1": "#c24a17",
  "series-2": "#2f7a53",
  "series-3": "#8547a3",
  "series-4": "#a47a00",
  "series-5": "#17828f",
  "series-6": "#b0346a",
  "load-0": "#1c4a88",
  "load-1": "#4f81bb",
  "load-2": "#93b5d8",
  "load-3": "#cbdcec",
  "load-4": "#efede6",
  "load-5": "#f7dac4",
  "load-6": "#eca57c",
  "load-7": "#d4693a",
  "load-8": "#9c3811",
};

const dark: Readonly<Record<string, string>> = {
  paper: "#141518",
  surface: "#1c1e22",
  ink: "#e8e6e1",
  muted: "#a09d95",
  faint: "#6c6a65",
  line: "#313339",
  train: "#7db0f2",
  valid: "#f58d58",
  baseline: "#918e86",
  local: "#6ea4ea",
  global: "#e8b04c",
  fresh: "#57480f",
  given: "#86cfa4",
  "series-0": "#7db0f2",
  "series-1": "#f58d58",
  "series-2": "#7cc99b",
  "series-3": "#c793e3",
  "series-4": "#dcb748",
  "series-5": "#5cc5d1",
  "series-6": "#f07faa",
  "load-0": "#a3cdff",
  "load-1": "#6c9fdd",
  "load-2": "#446b9f",
  "load-3": "#324359",
  "load-4": "#2b2d31",
  "load-5": "#51392d",
  "load-6": "#935a37",
  "load-7": "#d58049",
  "load-8": "#ffb584",
};

const declarations = (colors: Readonly<Record<string, string>>): string =>
  Object.entries(colors)
    .map(([name, color]) => `--${name}:${color}`)
    .join(";");

export type ColorScheme = "light" | "dark" | "auto";

/** CSS that sets the variables on `selector`: of one scheme, or of the reader's ("auto"). */
export function themeCss(selector: string, scheme: ColorScheme = "auto"): string {
  if (scheme !== "auto") return `${selector}{${declarations(scheme === "light" ? light : dark)}}`;
  return `${selector}{${declarations(light)}}@media (prefers-color-scheme:dark){${selector}{${declarations(dark)}}}`;
}

export function seriesColor(index: number): string {
  return `var(--series-${index % SERIES})`;
}
