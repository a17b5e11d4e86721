/** A metric's series as lines of a chart. */

import { along, smoothed, type XAxis } from "../series";
import type { Series } from "../types";
import type { Line } from "./curve";

/** Two lines when smoothed: the raw values faintly, the smoothed ones over them. */
export function linesOf(series: Series | undefined, label: string, colour: string, axis: XAxis, smoothing: number): Line[] {
  if (series === undefined || series.values.length === 0) return [];
  const x = along(series, axis);
  if (smoothing <= 0) return [{ label, x, y: series.values, colour }];
  return [
    { label: `${label}, raw`, x, y: series.values, colour, look: "faint" },
    { label, x, y: smoothed(series.values, smoothing), colour },
  ];
}

/** Evaluations are few and each is a mean already: they are shown as they are. */
export function dotsOf(series: Series | undefined, label: string, colour: string, axis: XAxis): Line[] {
  return series === undefined || series.values.length === 0 ? [] : [{ label, x: along(series, axis), y: series.values, colour, look: "dots" }];
}
