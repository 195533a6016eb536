/**
 * @file JSON for files that people write by hand: the value as JSON.parse gives it, and for broken text the line and
 * column (Node 20's own messages often lack both). A key given twice is an error here, not a silent overwrite; so is what is nested
 * more deeply than anybody writes by hand, which would take more than the stack holds.
 */
import { UserError } from "../errors.js";

const WHITESPACE = /[ \t\n\r]*/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids raw control characters in strings
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const LITERAL = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** Objects and lists within each other. */
const MOST_LEVELS = 100;

class JsonError {
  constructor(
    readonly offset: number,
    readonly expected: string,
  ) {}
}

/** Walks over JSON text and throws a JsonError at the first place where it is broken. */
class Scanner {
  private offset = 0;
  private level = 0;
  constructor(private readonly text: string) {}

  document(): void {
    this.value();
    if (this.offset < this.text.length) throw new JsonError(this.offset, "the end of the file");
  }

  private value(): void {
    this.take(WHITESPACE);
    const start = this.text[this.offset];
    if (start === "{" || start === "[") this.inside(start);
    else if (!this.take(STRING) && !this.take(LITERAL)) {
      throw new JsonError(this.offset, start === '"' ? "a whole string" : "a value");
    }
    this.take(WHITESPACE);
  }

  private inside(start: "{" | "["): void {
    if (++this.level > MOST_LEVELS)
      throw new JsonError(this.offset, `at most ${MOST_LEVELS} objects and lists within each other`);
    if (start === "{") this.object();
    else this.list("]", "a value or ]", () => this.value());
    this.level--;
  }

  private object(): void {
    const seen = new Set<string>();
    this.list("}", 'a key in double quotes or "}"', () => {
      const at = this.offset;
      const key = this.take(STRING);
      if (!key) throw new JsonError(at, "a key in double quotes");
      if (seen.has(key)) throw new JsonError(at, `each key once, but ${key} is there already`);
      seen.add(key);
      this.take(WHITESPACE);
      if (this.text[this.offset] !== ":") throw new JsonError(this.offset, `":" after ${key}`);
      this.offset++;
      this.value();
    });
  }

  /** `( item ( "," item )* )?` up to `close`; stands on the opening bracket. */
  private list(close: string, first: string, item: () => void): void {
    this.offset++;
    this.take(WHITESPACE);
    if (this.text[this.offset] === close) {
      this.offset++;
      return;
    }
    if (this.offset === this.text.length) throw new JsonError(this.offset, first);
    for (;;) {
      item();
      this.take(WHITESPACE);
      const next = this.text[this.offset];
      if (next !== "," && next !== close) throw new JsonError(this.offset, `"," or "${close}"`);
      this.offset++;
      if (next === close) return;
      this.take(WHITESPACE);
      if (this.text[this.offset] === close) {
        throw new JsonError(this.offset, 'another entry after ","');
      }
    }
  }

  private take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.offset;
    const match = pattern.exec(this.text);
    if (match) this.offset = pattern.lastIndex;
    return match?.[0];
  }
}

/**
 * The value of JSON `text`. Throws a UserError `source:line:column: expected ..., got ...` when it is broken.
 *
 * @param source what to call the text in the message: a file name, say.
 */
export function parseJson(text: string, source: string): unknown {
  const body = text.startsWith("\uFEFF") ? text.slice(1) : text;
  try {
    new Scanner(body).document();
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const before = body.slice(0, error.offset).split("\n");
    const place = `${source}:${before.length}:${before[before.length - 1].length + 1}`;
    const got =
      error.offset < body.length
        ? JSON.stringify(String.fromCodePoint(body.codePointAt(error.offset)!))
        : "the end";
    throw new UserError(`${place}: not valid JSON: expected ${error.expected}, got ${got}.`);
  }
  return JSON.parse(body);
}
