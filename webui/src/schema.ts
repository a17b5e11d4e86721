/** The JSON Schema of a run's configuration as fields of a form. */

import { isObject } from "./patch";
import type { Applies, Json, JsonObject } from "./types";

export interface Field {
  path: string[];
  title: string;
  description: string;
  unit: string;
  applies: Applies;
  default: Json | undefined;
  /** How it is edited: everything that is no plain value is written as JSON. */
  input: "switch" | "choice" | "number" | "text" | "json";
  whole: boolean;
  choices: Json[];
  minimum: number | undefined;
  maximum: number | undefined;
  above: number | undefined;
  below: number | undefined;
}

export interface Group {
  title: string;
  description: string;
  fields: Field[];
}

const words = (key: string): string => key.charAt(0).toUpperCase() + key.slice(1).replaceAll("_", " ");

/** The top level of the schema as groups; plain values there make a group of their own. */
export function groupsOf(schema: JsonObject): Group[] {
  const groups: Group[] = [];
  const loose: Field[] = [];
  for (const [key, raw] of Object.entries(objectAt(schema, "properties"))) {
    const inner = resolved(schema, raw);
    if (isObject(inner["properties"])) {
      groups.push({ title: String(raw && isObject(raw) && raw["title"] ? raw["title"] : words(key)), description: String(inner["description"] ?? ""), fields: fieldsOf(schema, inner, [key]) });
    } else {
      loose.push(fieldOf(key, inner, [key]));
    }
  }
  return loose.length > 0 ? [...groups, { title: "Other", description: "", fields: loose }] : groups;
}

function fieldsOf(schema: JsonObject, group: JsonObject, path: string[]): Field[] {
  return Object.entries(objectAt(group, "properties")).flatMap(([key, raw]) => {
    const inner = resolved(schema, raw);
    return isObject(inner["properties"]) ? fieldsOf(schema, inner, [...path, key]) : [fieldOf(key, inner, [...path, key])];
  });
}

function fieldOf(key: string, schema: JsonObject, path: string[]): Field {
  const number = (name: string) => (typeof schema[name] === "number" ? schema[name] : undefined);
  const choices = choicesOf(schema);
  const type = schema["type"];
  return {
    path,
    title: typeof schema["title"] === "string" ? schema["title"] : words(key),
    description: String(schema["description"] ?? ""),
    unit: String(schema["x-unit"] ?? ""),
    applies: (schema["x-applies"] as Applies | undefined) ?? "restart",
    default: schema["default"],
    input: choices.length > 0 ? "choice" : type === "boolean" ? "switch" : type === "number" || type === "integer" ? "number" : type === "string" ? "text" : "json",
    whole: type === "integer",
    choices,
    minimum: number("minimum"),
    maximum: number("maximum"),
    above: number("exclusiveMinimum"),
    below: number("exclusiveMaximum"),
  };
}

function choicesOf(schema: JsonObject): Json[] {
  if (Array.isArray(schema["enum"])) return schema["enum"];
  return schema["const"] === undefined ? [] : [schema["const"]];
}

/** Follows references within the document; a reference's own words win over those of what it names. */
function resolved(schema: JsonObject, raw: Json | undefined): JsonObject {
  if (!isObject(raw)) return {};
  const reference = raw["$ref"] ?? (Array.isArray(raw["allOf"]) && raw["allOf"].length === 1 && isObject(raw["allOf"][0]) ? raw["allOf"][0]["$ref"] : undefined);
  if (typeof reference !== "string") return raw;
  const named = reference.split("/").at(-1) ?? "";
  return { ...resolved(schema, objectAt(schema, "$defs")[named]), ...raw };
}

function objectAt(value: JsonObject, key: string): JsonObject {
  const inner = value[key];
  return isObject(inner) ? inner : {};
}

/** "0 to 1", "above 0", "at least 1": what the relay admits. */
export function rangeOf(field: Field): string {
  const low = field.minimum ?? field.above;
  const high = field.maximum ?? field.below;
  if (low === undefined && high === undefined) return "";
  if (low === undefined) return field.below === undefined ? `at most ${high}` : `below ${high}`;
  if (high === undefined) return field.above === undefined ? `at least ${low}` : `above ${low}`;
  return `${field.above === undefined ? "" : "above "}${low} to ${field.below === undefined ? "" : "below "}${high}`;
}

/** What somebody typed as a value for this field; throws with a sentence when it cannot be one. */
export function read(field: Field, text: string): Json {
  const trimmed = text.trim();
  switch (field.input) {
    case "text":
      return text;
    case "number": {
      const value = Number(trimmed.replace(",", "."));
      if (trimmed === "" || !Number.isFinite(value)) throw new Error(`expected a number, got “${trimmed}”`);
      if (field.whole && !Number.isInteger(value)) throw new Error(`expected a whole number, got ${trimmed}`);
      return value;
    }
    default:
      try {
        return JSON.parse(trimmed) as Json;
      } catch {
        // A word without quotes is what people write for a choice such as auto.
        if (/^[\w.:-]+$/.test(trimmed)) return trimmed;
        throw new Error("expected JSON, such as [128, 128]");
      }
  }
}

export const asText = (field: Field, value: Json | undefined): string =>
  value === undefined ? "" : typeof value === "string" && field.input !== "choice" ? value : JSON.stringify(value);
