/**
 * @file The configuration's fields as a flat list (path, type, default, description), read off the schema: what
 * `--help`, the documentation and the "did you mean" of error messages are made from.
 */
import { z } from "zod";
import { runConfigSchema } from "./run-config.js";

export interface ConfigField {
  /** Dotted path, as `--set` takes it; `N` stands for a number (`model.attention.layers.N.full`). */
  path: string;
  description: string;
  /** `integer`, `number`, `boolean`, `string`, `a | b | c` for a choice, `integer | integer[]` ... */
  type: string;
  default: unknown;
}

interface JsonSchema {
  type?: string | string[];
  enum?: unknown[];
  anyOf?: JsonSchema[];
  items?: JsonSchema;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: boolean | JsonSchema;
  default?: unknown;
  description?: string;
}

/** The whole configuration as JSON Schema (draft 2020-12), for editors. */
export function configJsonSchema(): object {
  return z.toJSONSchema(runConfigSchema, { io: "input" });
}

function typeName(schema: JsonSchema): string {
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.anyOf) return schema.anyOf.map(typeName).join(" | ");
  if (schema.type === "array") return `${typeName(schema.items ?? {})}[]`;
  return [schema.type ?? "any"].flat().join(" | ");
}

function flatten(schema: JsonSchema, prefix: string): ConfigField[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = prefix ? `${prefix}.${name}` : name;
    if (field.properties) return flatten(field, path);
    const entries = field.additionalProperties;
    const inner = typeof entries === "object" ? flatten(entries, `${path}.N`) : [];
    return [
      { path, description: field.description ?? "", type: typeName(field), default: field.default ?? null },
      ...inner,
    ];
  });
}

let fields: readonly ConfigField[] | undefined;

/** Every field of the configuration, in the order of the schema. */
export function configFields(): readonly ConfigField[] {
  fields ??= flatten(configJsonSchema() as JsonSchema, "");
  return fields;
}
