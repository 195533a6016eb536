/**
 * @file Configurations over configurations: defaults < preset < file < `--set`, merged field by field, then checked.
 * A message about a wrong value says which layer it came from.
 */
import type { z } from "zod";
import { UserError } from "../errors.js";
import { configFields } from "./fields.js";
import { didYouMean, nearestPath } from "./nearest.js";
import { type RunConfig, runConfigSchema } from "./run-config.js";

/** One source of settings; later layers win. */
export interface ConfigLayer {
  /** What the source is called in messages: `preset masked`, `my.json`, `--set`. */
  name: string;
  config: unknown;
}

type Tree = { [key: string]: unknown };
type Issue = z.core.$ZodIssue;

/** Whether it is an object with fields. */
export function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `upper` over `lower`, recursively; lists and scalars are replaced whole, what is undefined is left out. Neither is changed. */
export function mergeConfig(lower: unknown, upper: unknown): unknown {
  if (!isTree(lower) || !isTree(upper)) return upper;
  const merged: Tree = Object.assign(Object.create(null), lower);
  for (const [key, value] of Object.entries(upper)) {
    if (value !== undefined) merged[key] = mergeConfig(merged[key], value);
  }
  return merged;
}

/** One field that a setting gives. */
export interface SettingField {
  /** Dotted path: `training.seed`. */
  readonly path: string;
  readonly value: unknown;
}

/** The fields that `a.b.c=value` gives, however it is written: `training.seed=7` and `training={"seed":7}` give the same one. */
export function settingFields(setting: string): SettingField[] {
  const fields: SettingField[] = [];
  const open: SettingField[] = [{ path: "", value: parseSetting(setting) }];
  for (let next = open.pop(); next; next = open.pop()) {
    const { path, value } = next;
    if (!isTree(value)) fields.push(next);
    else
      for (const [key, inner] of Object.entries(value).reverse())
        open.push({ path: path === "" ? key : `${path}.${key}`, value: inner });
  }
  return fields;
}

/** `a.b.c=value` as a tree; the value is read as JSON where it is JSON, else taken as text. */
export function parseSetting(setting: string): unknown {
  const equals = setting.indexOf("=");
  const path = setting.slice(0, equals).trim();
  if (equals < 0 || !/^[^.]+(\.[^.]+)*$/.test(path)) {
    throw new UserError(`--set expects path=value, for example model.numLayers=6; got "${setting}".`);
  }
  const text = setting.slice(equals + 1).trim();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = text;
  }
  return path.split(".").reduceRight((inner, key) => ({ [key]: inner }), value);
}

/** What stands at `path`; undefined: nothing. */
function lookUp(tree: unknown, path: readonly PropertyKey[]): unknown {
  let value = tree;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** JSON has no form for numbers that are not finite: it would say null. */
const finite = (_key: string, value: unknown): unknown =>
  typeof value === "number" && !Number.isFinite(value) ? String(value) : value;

/** A value as messages quote it. */
export function show(value: unknown): string {
  if (typeof value === "number") return String(value);
  let text: string;
  try {
    text = JSON.stringify(value, finite) ?? "nothing";
  } catch {
    // What JSON has no form for: what holds itself, or is nested too deeply, is no more than its kind.
    text = typeof value === "object" ? Object.prototype.toString.call(value) : String(value);
  }
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

const typeWords: Record<string, string> = {
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  string: "text",
  object: "an object of settings",
  "string[]": 'a list such as ["a", "b"]',
  "integer | integer[]": "a whole number, or a list of them",
};

/** The field that a path is of: settings of one layer are described once for all, elements with their list. */
function fieldAt(path: string) {
  const general = path.replace(/\.layers\.\d+\./, ".layers.N.");
  const list = general.replace(/\.\d+$/, "");
  const field = configFields().find((candidate) => candidate.path === general || candidate.path === list);
  const type = field?.type.replace(" | null", "") ?? "object";
  return { type: list === general ? type : type.replace("[]", ""), description: field?.description };
}

/** What an issue of the schema says, in the words: expected ..., got .... */
function describeIssue(issue: Issue, value: unknown, path: string): string {
  const expected = (what: string) => `expected ${what}, got ${show(value)}`;
  const { type, description } = fieldAt(path);
  switch (issue.code) {
    case "invalid_type":
      return `${expected(typeWords[issue.expected === "int" ? "integer" : type] ?? type)}.`;
    case "invalid_value": {
      const choices = issue.values.map(String);
      const hint = typeof value === "string" ? didYouMean(value, choices) : ".";
      return expected(`one of ${choices.map((choice) => `"${choice}"`).join(", ")}`) + hint;
    }
    case "too_small":
      if (issue.origin === "string") return `${expected("text that is not empty")}.`;
      return `${expected(`${issue.inclusive ? "at least" : "more than"} ${issue.minimum}`)}.`;
    case "too_big":
      return `${expected(`${issue.inclusive ? "at most" : "less than"} ${issue.maximum}`)}.`;
    case "invalid_union":
      return `${expected(typeWords[type] ?? type)} (${description}).`;
    case "invalid_key":
      return `${issue.issues[0].message}.`;
    default:
      return `${issue.message}.`;
  }
}

/** `unknown key ...`, with the nearest field or section there is, else those that stand where it was looked for. */
function unknownKey(path: string): string {
  const layer = /\.layers\.(\d+)\./.exec(path)?.[1] ?? "0";
  const leaves = configFields().map((field) => field.path.replace(".N.", `.${layer}.`));
  const sections = leaves.flatMap((leaf) =>
    leaf.split(".").map((_, depth, parts) => parts.slice(0, depth).join(".")),
  );
  const known = [...leaves, ...new Set(sections.filter((section) => section !== ""))];
  const meant = nearestPath(path, known);
  if (meant !== null) return `unknown key "${path}"; did you mean "${meant}"?`;
  const place = path.slice(0, path.lastIndexOf(".") + 1);
  const there = known.filter((other) => other.startsWith(place)).map((other) => other.slice(place.length));
  const names = [...new Set(there)].filter((name) => !name.includes("."));
  return `unknown key "${path}"; ${place === "" ? "a configuration" : place.slice(0, -1)} has ${names.join(", ")}.`;
}

/** Of several bounds that one number is above, the lowest alone. */
const strictest = (issues: readonly Issue[]): Issue[] =>
  issues.filter(
    (issue) =>
      issue.code !== "too_big" ||
      !issues.some(
        (other) =>
          other.code === "too_big" &&
          other.maximum < issue.maximum &&
          other.path.join(".") === issue.path.join("."),
      ),
  );

/**
 * The configuration that `layers` make over the defaults, checked. Throws a UserError that lists every wrong setting
 * with its full path, what was expected, what came, and from which layer.
 */
export function configFromLayers(layers: readonly ConfigLayer[]): RunConfig {
  for (const { name, config } of layers) {
    if (!isTree(config)) throw new UserError(`${name}: expected an object of settings, got ${show(config)}.`);
  }
  const merged = layers.reduce<unknown>((lower, layer) => mergeConfig(lower, layer.config), {});
  const result = runConfigSchema.safeParse(merged);
  if (result.success) return result.data;
  const origin = (path: readonly PropertyKey[]) => {
    const layer = layers.findLast((candidate) => lookUp(candidate.config, path) !== undefined);
    return layer ? `${layer.name}: ` : "";
  };
  const lines = strictest(result.error.issues).flatMap((issue) => {
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => {
        const path = [...issue.path, key];
        return `${origin(path)}${unknownKey(path.join("."))}`;
      });
    }
    const path = issue.path.join(".");
    const value = lookUp(merged, issue.path);
    return [`${origin(issue.path)}${path}: ${describeIssue(issue, value, path)}`];
  });
  throw new UserError(
    lines.length === 1 ? lines[0] : `The configuration has ${lines.length} faults:\n  ${lines.join("\n  ")}`,
  );
}
