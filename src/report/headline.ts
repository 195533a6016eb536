/** @file The head of a training report: the run in a sentence, and its numbers large. */
import { type Baseline, lastValidations, pointsOf, type ReportData, type RunFacts } from "./data.js";
import { type Html, html } from "./html.js";
import { count, decimal, duration } from "./numbers.js";

interface Tile {
  readonly name: string;
  readonly value: string;
  readonly unit: string;
  readonly beside: string;
}

export function headline(data: ReportData): Html {
  const tiles = tilesOf(data);
  return html`<p class="summary">${[effort(data.run), outcome(data), standing(data)].filter((s) => s !== "").join(" ")}</p>
${tiles.length > 0 && html`<dl class="tiles">${tiles.map((tile) => html`<div><dt>${tile.name}</dt><dd><span class="value">${tile.value}<span class="unit"> ${tile.unit}</span></span></dd><dd class="beside">${tile.beside}</dd></div>`)}</dl>`}`;
}

/** "In 2 min 5 s, a model of 10.4M parameters (4.1M active for each token) read 412k tokens of ..." */
function effort({ minutes, parameters, tokens, corpus }: RunFacts): string {
  const time = minutes === undefined ? "" : `in ${duration(minutes)}, `;
  const size = parameters ? ` of ${count(parameters.total)} parameters` : "";
  const active =
    parameters?.active !== undefined && parameters.active < parameters.total
      ? ` (${count(parameters.active)} active for each token)`
      : "";
  const read =
    tokens === undefined ? " was trained" : ` read ${count(tokens)} tokens${corpus ? ` of ${corpus}` : ""}`;
  const sentence = `${time}a model${size}${active}${read}.`;
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

/** "Its validation loss went from 9.01 to 6.42 nats per token." */
function outcome({ metrics }: ReportData): string {
  const valid = pointsOf(lastValidations(metrics), "valid", "step", "loss");
  const curve = valid.length > 0 ? valid : pointsOf(metrics, "train", "step", "loss");
  if (curve.length === 0) return "";
  const name = valid.length > 0 ? "validation loss" : "training loss";
  const [first, last] = [curve[0].y, curve[curve.length - 1].y];
  if (curve.length === 1) return `Its ${name} is ${decimal(last)} nats per token.`;
  return `Its ${name} went from ${decimal(first)} to ${decimal(last)} nats per token.`;
}

const bitsPerByte = ({ metrics }: ReportData) =>
  pointsOf(lastValidations(metrics), "valid", "step", "bitsPerByte").at(-1)?.y;

/** "At 1.97 bits per byte it is better than the unigram model (2.49) and not yet as good as the bigram model (1.74)." */
function standing(data: ReportData): string {
  const reached = bitsPerByte(data);
  const others = (data.baselines ?? []).toSorted((a, b) => b.bitsPerByte - a.bitsPerByte);
  if (reached === undefined || others.length === 0) return "";
  const beaten = others.filter((other) => reached < other.bitsPerByte).at(-1);
  const ahead = others.find((other) => reached >= other.bitsPerByte);
  const named = (other: Baseline) => `the ${other.name} baseline (${decimal(other.bitsPerByte)})`;
  const parts = [
    beaten ? `better than ${named(beaten)}` : "",
    ahead ? `not yet as good as ${named(ahead)}` : "",
  ].filter((part) => part !== "");
  return `At ${decimal(reached)} bits per byte it is ${parts.join(" and ")}.`;
}

function tilesOf(data: ReportData): Tile[] {
  const { metrics, run } = data;
  const tiles: Tile[] = [];
  const valid = pointsOf(lastValidations(metrics), "valid", "step", "loss");
  const train = pointsOf(metrics, "train", "step", "loss");
  const curve = valid.length > 0 ? valid : train;
  if (curve.length > 0) {
    const best = curve.reduce((lowest, p) => Math.min(lowest, p.y), Number.POSITIVE_INFINITY);
    const last = curve[curve.length - 1].y;
    tiles.push({
      name: valid.length > 0 ? "Validation loss" : "Training loss",
      value: decimal(last),
      unit: "nats/token",
      beside:
        best < 0.99 * last ? `best ${decimal(best)}` : curve.length > 1 ? `from ${decimal(curve[0].y)}` : "",
    });
  }
  const bits = bitsPerByte(data);
  if (bits !== undefined) {
    const [nearest] = (data.baselines ?? []).toSorted(
      (a, b) => Math.abs(a.bitsPerByte - bits) - Math.abs(b.bitsPerByte - bits),
    );
    tiles.push({
      name: "Bits per byte",
      value: decimal(bits),
      unit: "",
      beside: nearest ? `${nearest.name} ${decimal(nearest.bitsPerByte)}` : "validation",
    });
  }
  if (run.tokensPerSecond !== undefined)
    tiles.push({
      name: "Speed",
      value: count(run.tokensPerSecond),
      unit: "tokens/s",
      beside:
        run.tokens === undefined
          ? ""
          : `${count(run.tokens)} tokens${run.minutes === undefined ? "" : ` in ${duration(run.minutes)}`}`,
    });
  if (run.parameters)
    tiles.push({
      name: "Parameters",
      value: count(run.parameters.total),
      unit: "",
      beside:
        run.parameters.active === undefined ? "" : `${count(run.parameters.active)} active for each token`,
    });
  return tiles;
}
