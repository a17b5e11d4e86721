/** Configurations as plain values: what differs between two, and the merge patch (RFC 7396) that leads from one to the other. */

import type { Json, JsonObject } from "./types";

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const same = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b);

function canonical(value: unknown): string {
  if (!isObject(value)) return Array.isArray(value) ? `[${value.map(canonical).join()}]` : (JSON.stringify(value) ?? "null");
  return `{${Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`)
    .join()}}`;
}

/** The merge patch that makes ``after`` of ``before``. */
export function difference(before: JsonObject, after: JsonObject): JsonObject {
  const patch: JsonObject = {};
  for (const key of Object.keys(before)) if (!(key in after)) patch[key] = null;
  for (const [key, value] of Object.entries(after)) {
    const old = before[key];
    if (isObject(old) && isObject(value)) {
      const inner = difference(old, value);
      if (Object.keys(inner).length > 0) patch[key] = inner;
    } else if (!same(old, value)) {
      patch[key] = value;
    }
  }
  return patch;
}

/** The value at a path of keys; undefined where there is none. */
export function valueAt(config: Json | undefined, path: string[]): Json | undefined {
  let value: Json | undefined = config;
  for (const key of path) value = isObject(value) ? value[key] : undefined;
  return value;
}

/** A copy with another value at a path of keys. */
export function withValue(config: JsonObject, path: string[], value: Json): JsonObject {
  const [key, ...rest] = path;
  if (key === undefined) return config;
  const inner = config[key];
  return { ...config, [key]: rest.length === 0 ? value : withValue(isObject(inner) ? inner : {}, rest, value) };
}

/** The changes between two configurations, field by field, in the order of paths. */
export function changed(before: Json | undefined, after: Json | undefined, path: string[] = []): { path: string; before: Json | undefined; after: Json | undefined }[] {
  if (isObject(before) && isObject(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
    return keys.flatMap((key) => changed(before[key], after[key], [...path, key]));
  }
  return same(before, after) ? [] : [{ path: path.join("."), before, after }];
}
