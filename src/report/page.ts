/**
 * @file The page around a report: one HTML file with its style and script inside, which asks nothing of any network.
 */
import { type Html, type HtmlValue, html, trusted } from "./html.js";
import { PAGE_STYLE } from "./style.js";
import { themeCss } from "./theme.js";

/** Nothing is loaded and nothing is sent, whatever the text in the page may hold. */
const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

export interface Page {
  readonly title: string;
  /** A line above the title. */
  readonly kind: string;
  readonly body: Html;
  /** Plain script, of this room only. Default none. */
  readonly script?: string;
}

export function page({ title, kind, body, script }: Page): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${trusted(POLICY)}">
<title>${title}</title>
<style>${trusted(themeCss(":root") + PAGE_STYLE)}</style>
</head>
<body>
<main>
<p class="kind">${kind}</p>
<h1>${title}</h1>
${body}
</main>
${
  script !== undefined &&
  html`<script>${trusted(script)}</script>
`
}</body>
</html>
`.toString();
}

/** A heading with what belongs to it. */
export function section(heading: string, lead: Html | string | null, ...content: readonly HtmlValue[]): Html {
  return html`<section><h2>${heading}</h2>${lead !== null && html`<p class="lead">${lead}</p>`}
${content}</section>
`;
}

/** Narrower than this, a wide picture scrolls. */
const WIDE = 700;

/** A picture with its caption; wide ones scroll on narrow screens. */
export function chart(svg: string, caption: Html | string, heading?: string): Html {
  return html`<figure class="chart">${heading !== undefined && html`<h3>${heading}</h3>`}<div class="${isWide(svg) ? "scroll wide" : "scroll"}">${trusted(svg)}</div>${caption !== "" && html`<figcaption>${caption}</figcaption>`}</figure>
`;
}

const isWide = (svg: string) => Number(/^<svg [^>]* width="([\d.]+)"/.exec(svg)?.[1] ?? 0) >= WIDE;

/** Rows of names and values. */
export function factsTable(rows: readonly (readonly [string, string])[]): Html {
  return html`<table class="facts"><tbody>${rows.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>`)}</tbody></table>`;
}
