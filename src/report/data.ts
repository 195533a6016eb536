/**
 * @file What a report is made of: plain data that fits in a JSON file. The functions of this room turn it into HTML, SVG
 * and terminal text; they read no file, no clock and no network, and equal data gives equal bytes.
 */

/** A line of `metrics.jsonl`. Every field that a chart asks for may be missing or null: it is then left out of the chart. */
export interface MetricsLine {
  /** "train" or "valid"; lines of other kinds are ignored. */
  readonly kind: string;
  readonly step: number;
  /**
   * Read of both kinds: tokens, seconds, loss (nats per token), terms (an object of numbers), expertLoad (layer, expert).
   * Of "train" lines also learningRate, gradNorm, tokensPerSecond; of "valid" lines also bitsPerByte, and texts and sequences: numbers on
   * other ones do not compare, so they stand apart.
   */
  readonly [name: string]: unknown;
}

/** How evenly tokens went to experts at one moment of training. */
export interface ExpertLoadSnapshot {
  readonly step: number;
  /** Training tokens seen so far. Default: not known, steps are shown. */
  readonly tokens?: number | null;
  /** [layer][expert] share of the routed tokens times the number of experts: 1 is even. */
  readonly load: readonly (readonly number[])[];
}

/** The attention of heads that share one pattern. */
export interface AttentionHeads {
  /** Whose it is: "every layer", "layers 1-3, heads 1-2". */
  readonly label: string;
  /** Positions seen on each side, in steps of `dilation`. */
  readonly window: number;
  /** 1: a contiguous window. */
  readonly dilation: number;
  /** Everything is seen; window and dilation play no part. */
  readonly full: boolean;
  /** [N, N] row-major, not 0 where the query of the row sees the key of the column. */
  readonly mask: ArrayLike<number>;
}

/** What a sequence of N positions sees. Any N will do (masks are drawn coarser than they are), up to a few thousand in practice. */
export interface AttentionPattern {
  /** N. */
  readonly length: number;
  /** [N] whether a position is global: it sees everything in its document and is seen by everything there. */
  readonly isGlobal: ArrayLike<number | boolean>;
  readonly groups: readonly AttentionHeads[];
}

/** One position of a document under way from noise to text. */
export interface DenoisingToken {
  /** What stands there now: the text if settled, else the current guess, or "" if there is none. */
  readonly text: string;
  /** The position will not change any more, or is as sure as it gets. */
  readonly settled: boolean;
  /** Given by the user: never noised. Default false. */
  readonly given?: boolean;
}

export interface DenoisingStep {
  /** 0 before the first step. */
  readonly step: number;
  /** Diffusion time, 1 (noise) to 0 (text). */
  readonly time: number;
  readonly tokens: readonly DenoisingToken[];
}

/** What another model reaches on the validation texts. */
export interface Baseline {
  readonly name: string;
  readonly bitsPerByte: number;
}

export interface RunFacts {
  readonly preset?: string;
  readonly parameters?: { readonly total: number; readonly active?: number };
  /** Training tokens seen. */
  readonly tokens?: number;
  readonly tokensPerSecond?: number;
  readonly minutes?: number;
  /** The text it was trained on, in words. */
  readonly corpus?: string;
  readonly seed?: number;
  /** Name of a program to its version. */
  readonly versions?: Readonly<Record<string, string>>;
  /** Further rows of the table of facts. */
  readonly more?: Readonly<Record<string, string | number>>;
}

/** Everything that `trainingReport` shows; parts that are missing or empty are left out. */
export interface ReportData {
  readonly title: string;
  readonly run: RunFacts;
  readonly metrics: readonly MetricsLine[];
  readonly attention?: AttentionPattern;
  /** Some or all steps of one generation, in order. */
  readonly denoising?: readonly DenoisingStep[];
  readonly finalText?: string;
  readonly baselines?: readonly Baseline[];
  /** Commands worth trying next. */
  readonly nextCommands?: readonly (string | { readonly command: string; readonly note: string })[];
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** The number called `name` of a line, or null. `terms.ce` reaches inside. */
export function numberIn(line: MetricsLine, name: string): number | null {
  let value: unknown = line;
  for (const part of name.split("."))
    value = value !== null && typeof value === "object" ? (value as Record<string, unknown>)[part] : null;
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** The points (x, y) of the lines of one kind that have both, in order of x. */
export function pointsOf(metrics: readonly MetricsLine[], kind: string, x: string, y: string): Point[] {
  return metrics
    .filter((line) => line.kind === kind)
    .flatMap((line) => {
      const point = { x: numberIn(line, x), y: numberIn(line, y) };
      return point.x !== null && point.y !== null ? [{ x: point.x, y: point.y }] : [];
    })
    .sort((a, b) => a.x - b.x);
}

/** The validations by what they are of, which is known by `texts` and `sequences`; those that go with the last one logged come last. */
export function validationGroups(metrics: readonly MetricsLine[]): MetricsLine[][] {
  const groups = new Map<string, MetricsLine[]>();
  for (const line of metrics) {
    if (line.kind !== "valid") continue;
    const of = JSON.stringify([line.texts ?? null, line.sequences ?? null]);
    const group = groups.get(of) ?? [];
    group.push(line);
    groups.delete(of);
    groups.set(of, group);
  }
  return [...groups.values()];
}

/** The validations that compare with the last one. */
export const lastValidations = (metrics: readonly MetricsLine[]): MetricsLine[] =>
  validationGroups(metrics).at(-1) ?? [];

const isLoad = (value: unknown): value is number[][] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((layer) => Array.isArray(layer) && layer.every((load) => typeof load === "number"));

/** The expert loads that metrics lines carry, in order of step. */
export function expertLoadOf(metrics: readonly MetricsLine[]): ExpertLoadSnapshot[] {
  return metrics
    .flatMap((line) =>
      isLoad(line.expertLoad)
        ? [{ step: line.step, tokens: numberIn(line, "tokens"), load: line.expertLoad }]
        : [],
    )
    .sort((a, b) => a.step - b.step);
}
