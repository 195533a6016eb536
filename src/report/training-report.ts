/**
 * @file The report of a training run: what it reached, how it went, how its experts and its attention look, and a document
 * coming into focus. Sections without data are left out.
 */
import { attentionSvg, describeHeads } from "./charts/attention.js";
import { DEAD_LOAD, expertLoadSvg, loadOfStep, summariseLoad } from "./charts/expert-load.js";
import {
  type AttentionPattern,
  type DenoisingStep,
  type ExpertLoadSnapshot,
  expertLoadOf,
  pointsOf,
  type ReportData,
} from "./data.js";
import { denoisingFilm } from "./denoising-film.js";
import { FILM_SCRIPT } from "./film-script.js";
import { headline } from "./headline.js";
import { type Html, html } from "./html.js";
import { learningSection } from "./learning.js";
import { count, duration, exact } from "./numbers.js";
import { chart, factsTable, page, section } from "./page.js";
import { LOAD_STEPS } from "./theme.js";

/** Characters of the text that are shown at once; the rest unfolds. */
const SHOWN_TEXT = 12_000;
/** Layers whose loads are drawn. */
const MAX_LAYERS = 24;

/** One self-contained HTML file: no network, no outside scripts or fonts; equal data gives equal bytes. */
export function trainingReport(data: ReportData): string {
  const load = expertLoadOf(data.metrics);
  const denoising = data.denoising?.filter((step) => step.tokens.length > 0) ?? [];
  const body = html`${headline(data)}
${learningSection(data)}
${load.length > 0 && expertSection(load)}
${data.attention && data.attention.groups.length > 0 && attentionSection(data.attention)}
${denoising.length > 0 && denoisingSection(denoising)}
${data.finalText && textSection(data.finalText)}
${factsSection(data)}
${nextSection(data.nextCommands ?? [])}
${glossary(data, load.length > 0)}`;
  return page({
    title: data.title,
    kind: "MoE-DiffuSeq training report",
    body,
    script: denoising.length > 1 ? FILM_SCRIPT : undefined,
  });
}

function expertSection(snapshots: readonly ExpertLoadSnapshot[]): Html {
  const last = snapshots[snapshots.length - 1];
  const complete = snapshots.filter((snapshot) => snapshot.load.length === last.load.length);
  const layers = [...last.load.keys()].filter((layer) => last.load[layer].length > 0);
  if (layers.length === 0) return html``;
  const summaries = layers.map((layer) => summariseLoad(last.load[layer]));
  const lowest = Math.min(...summaries.map((s) => s.lowest));
  const highest = Math.max(...summaries.map((s) => s.highest));
  const dead = summaries.reduce((sum, s) => sum + s.dead, 0);
  const verdict =
    dead > 0
      ? `${exact(dead)} ${dead === 1 ? "expert is" : "experts are"} dead (under ${DEAD_LOAD} of an even share).`
      : "No expert is dead.";
  const steps = Array.from({ length: LOAD_STEPS }, (_, step) => step);
  return section(
    "Who does the work: expert load",
    `At the end the experts get between ${lowest.toFixed(2)} and ${highest.toFixed(2)} times an even share of the tokens. ${verdict}`,
    html`<p class="scale">${`${loadOfStep(0)}× or less`}<span>${steps.map((step) => html`<i style="background:var(--load-${step})"></i>`)}</span>${`${loadOfStep(LOAD_STEPS - 1)}× or more`}<span>· the middle is an even share</span></p>
<div class="grid halves">${layers.slice(0, MAX_LAYERS).map((layer) => chart(expertLoadSvg(complete, layer), "", `Layer ${layer}`))}</div>
${layers.length > MAX_LAYERS && html`<p class="note">The first ${MAX_LAYERS} of ${layers.length} layers.</p>`}`,
  );
}

function attentionSection(pattern: AttentionPattern): Html {
  return section(
    "Who sees whom: attention",
    "A row is a position that looks, a column one that is looked at. Each sees its neighbours through a sliding window; global positions see their whole document and are seen by all of it, so that news travels anywhere in two layers. Documents packed into one sequence do not see each other.",
    html`<p class="keys"><span><span class="key" style="background:var(--local)"></span>seen through the window</span><span><span class="key" style="background:var(--global)"></span>one of the two is global</span></p>
<div class="grid">${pattern.groups.map((heads) => chart(attentionSvg(heads, pattern), capital(`${describeHeads(heads, pattern)}.`), capital(heads.label)))}</div>`,
  );
}

function denoisingSection(steps: readonly DenoisingStep[]): Html {
  const given = steps[0].tokens.some((token) => token.given);
  return section(
    "From noise to text",
    "A diffusion model writes all positions at once. Blurred words are guesses that may still change.",
    html`<p class="keys"><span><mark class="key" style="background:var(--fresh)"></mark>settled since the frame before</span>${given && html`<span><span class="key" style="background:var(--given)"></span>given</span>`}</p>
${denoisingFilm(steps)}`,
  );
}

function textSection(text: string): Html {
  const shown = text.slice(0, SHOWN_TEXT);
  const rest = text.slice(SHOWN_TEXT);
  return section(
    "The text",
    null,
    html`<div class="text"><div>${shown}</div>${rest !== "" && html`<details><summary>${exact(rest.length)} more characters</summary><div>${rest}</div></details>`}</div>`,
  );
}

function factsSection({ run, metrics }: ReportData): Html {
  const { parameters, versions = {}, more = {} } = run;
  const steps = metrics.reduce((most, line) => Math.max(most, line.step), 0);
  const rows: [string, string | undefined][] = [
    ["Preset", run.preset],
    ["Parameters", parameters && exact(parameters.total)],
    ["Active for each token", parameters?.active === undefined ? undefined : exact(parameters.active)],
    ["Corpus", run.corpus],
    ["Training tokens", run.tokens === undefined ? undefined : exact(run.tokens)],
    ["Steps", steps > 0 ? exact(steps) : undefined],
    ["Speed", run.tokensPerSecond === undefined ? undefined : `${count(run.tokensPerSecond)} tokens/s`],
    ["Time", run.minutes === undefined ? undefined : duration(run.minutes)],
    ["Seed", run.seed === undefined ? undefined : String(run.seed)],
    ...Object.entries(more).map(([name, value]): [string, string] => [
      name,
      typeof value === "number" ? exact(value) : value,
    ]),
    [
      "Versions",
      Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(", ") || undefined,
    ],
  ];
  return section(
    "The run",
    null,
    factsTable(rows.filter((row): row is [string, string] => row[1] !== undefined && row[1] !== "")),
  );
}

function nextSection(commands: NonNullable<ReportData["nextCommands"]>): Html | null {
  if (commands.length === 0) return null;
  const items = commands.map((item) => (typeof item === "string" ? { command: item, note: "" } : item));
  return section(
    "What to try next",
    null,
    html`<ul class="commands">${items.map(({ command, note }) => html`<li>${note !== "" && html`<p>${note}</p>`}<code>${command}</code></li>`)}</ul>`,
  );
}

function glossary({ metrics, denoising }: ReportData, experts: boolean): Html {
  const bits = pointsOf(metrics, "valid", "step", "bitsPerByte").length > 0;
  const terms: (readonly [string, string] | false | undefined)[] = [
    [
      "Loss",
      "What training makes small: how badly the words behind the noise were guessed, in nats (natural logarithms) for each token, and what keeps the experts balanced. Lower is better.",
    ],
    [
      "Validation",
      "The same on documents that are never trained on, with the averaged weights (EMA). If it rises while the training loss falls, the model learns by heart.",
    ],
    bits && [
      "Bits per byte",
      "How far the text could be compressed with this model, at most. It does not depend on the vocabulary, so it may be compared with other models on the same documents. Left to right it is exact; of a model that reads noised text it is an estimate of an upper bound, from one draw of noise for each validation sequence, and scatters where these are few: evaluate draws more and says how far off it may be.",
    ],
    denoising && [
      "Time",
      "The level of noise: at 1 nothing of the text is left, at 0 it stands. Generation goes from 1 to 0 in steps.",
    ],
    experts && [
      "Expert load",
      "The router sends each token to a few of the experts of a layer. Load is an expert's share times the number of experts: 1 is even, near 0 means parameters that learn nothing.",
    ],
    [
      "Gradient norm",
      "How hard a step pulls at the parameters, before clipping. Spikes that come more and more often announce a run that will diverge.",
    ],
  ];
  const shown = terms.filter((term) => term !== false && term !== undefined);
  return section(
    "How to read this",
    null,
    html`<dl class="terms">${shown.map(([term, meaning]) => html`<div><dt>${term}</dt><dd>${meaning}</dd></div>`)}</dl>`,
  );
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
