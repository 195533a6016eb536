/**
 * @file Text into HTML, safely: in html`...` every value that is put in is escaped, except pieces of HTML made the same way.
 */

/** A piece of HTML that is already safe. */
export class Html {
  constructor(private readonly markup: string) {}
  toString(): string {
    return this.markup;
  }
}

export type HtmlValue = Html | string | number | null | undefined | false | readonly HtmlValue[];

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Controls that HTML and XML do not allow, and halves of surrogate pairs: shown as U+FFFD. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const NOT_TEXT = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ufffe\uffff]|\p{Surrogate}/gu;

/** Text that HTML and XML both allow. */
export function cleanText(text: string): string {
  return text.replace(NOT_TEXT, "\ufffd");
}

/** Text for use between tags or inside a quoted attribute, of HTML or XML. */
export function escapeHtml(text: string): string {
  return cleanText(text).replace(/[&<>"']/g, (character) => ENTITIES[character]);
}

/** Marks a string as HTML. Only for markup that this room has made itself. */
export function trusted(markup: string): Html {
  return new Html(markup);
}

function render(value: HtmlValue): string {
  if (value instanceof Html) return value.toString();
  if (Array.isArray(value)) return (value as readonly HtmlValue[]).map(render).join("");
  return value === null || value === undefined || value === false ? "" : escapeHtml(String(value));
}

/** HTML with values put in: escaped, arrays one after the other, nothing for null, undefined and false. */
export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(String.raw({ raw: strings }, ...values.map(render)));
}
