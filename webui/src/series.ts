/** Curves as columns: adding a live point, smoothing, choosing what lies along x. */

import type { Series } from "./types";

export type XAxis = "updates" | "transitions" | "time";

/** More points than any screen shows; beyond it the relay is asked for a thinned curve again. */
export const MOST_POINTS = 6_000;

/** The series with this point: at the end as a rule, in place of an older one of the same update, or where it belongs. */
export function extended(series: Series, update: number, transitions: number, time: number, value: number | null): Series {
  let at = series.updates.length;
  while (at > 0 && (series.updates[at - 1] ?? 0) >= update) at -= 1;
  const replaced = series.updates[at] === update ? 1 : 0;
  const placed = <A>(column: A[], added: A): A[] => column.toSpliced(at, replaced, added);
  return {
    name: series.name,
    updates: placed(series.updates, update),
    transitions: placed(series.transitions, transitions),
    times: placed(series.times ?? [], time),
    values: placed(series.values, value),
  };
}

export function along(series: Series, axis: XAxis): number[] {
  return axis === "updates" ? series.updates : axis === "transitions" ? series.transitions : (series.times ?? series.updates);
}

/**
 * An exponential moving average whose start is not drawn to zero (Adam, arXiv 1412.6980, section 3).
 * ``weight`` is how much of the past stays, 0 to below 1.  Gaps stay gaps.
 */
export function smoothed(values: (number | null)[], weight: number): (number | null)[] {
  if (weight <= 0) return values;
  let mean = 0;
  let seen = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    seen += 1;
    return mean / (1 - weight ** seen);
  });
}

/** The updates between which a stretch of the x axis lies, a little more on both sides; null where nothing does. */
export function updatesBetween(series: Series, axis: XAxis, low: number, high: number): [number, number] | null {
  const x = along(series, axis);
  const first = x.findIndex((value) => value >= low);
  if (first < 0) return null;
  let last = x.length - 1;
  while (last > first && (x[last] ?? 0) > high) last -= 1;
  return [series.updates[Math.max(0, first - 1)] ?? 0, series.updates[Math.min(x.length - 1, last + 1)] ?? 0];
}
