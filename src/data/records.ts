/**
 * @file One JSON Lines record to one document: {"text"} (a "title" goes in front, on a line of its own) or {"src", "trg"}.
 */

/** A text to learn from: free (`text`) or conditional (`src` given, `trg` learned). */
export interface Document {
  /** Where it came from: `file`, or `file:line` for a JSON Lines record. */
  readonly source: string;
  readonly text?: string;
  readonly src?: string;
  readonly trg?: string;
}

/** Either the document's fields, or what came instead of them. */
export type ParsedRecord = { fields: Omit<Document, "source"> } | { got: string };

const isNothing = (value: unknown): boolean => value === undefined || value === null;

const kindOf = (value: unknown): string => {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  return `a ${typeof value}`;
};

const excerpt = (text: string): string => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text);

function describeObject(record: Record<string, unknown>): string {
  for (const name of ["text", "src", "trg", "title"]) {
    const value = record[name];
    if (!isNothing(value) && typeof value !== "string") return `"${name}" that is ${kindOf(value)}`;
  }
  const keys = Object.keys(record);
  if (keys.length === 0) return "an empty object";
  const shown = keys.slice(0, 6).map((key) => JSON.stringify(key));
  return `an object with ${shown.join(", ")}${keys.length > 6 ? ", ..." : ""}`;
}

/** Parses one line. "text" wins where a record has both forms; other keys are ignored. */
export function parseRecord(line: string): ParsedRecord {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { got: `invalid JSON (${excerpt(line.trim())})` };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { got: kindOf(value) };
  const record = value as Record<string, unknown>;
  const { text, title, src, trg } = record;
  if (typeof text === "string" && (isNothing(title) || typeof title === "string"))
    return { fields: { text: title ? `${title}\n${text}` : text } };
  if (isNothing(text) && typeof src === "string" && typeof trg === "string") return { fields: { src, trg } };
  return { got: describeObject(record) };
}
