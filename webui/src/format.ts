/** Numbers, times and sizes as people read them. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const NONE = "–";

export type Maybe = number | null | undefined;

const isNone = (value: Maybe): value is null | undefined => value === null || value === undefined || !Number.isFinite(value);

/** 1234567 → 1,234,567 */
export const whole = (value: Maybe): string => (isNone(value) ? NONE : WHOLE.format(value));

/** 1234567 → 1.23M */
export const compact = (value: Maybe): string => (isNone(value) ? NONE : COMPACT.format(value));

/** Any measured number in four significant digits: 0.0001234, 12.34, 1,234. */
export function measured(value: Maybe, digits = 4): string {
  if (isNone(value)) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e9) return value.toExponential(digits - 2);
  if (size >= 10 ** (digits - 1)) return WHOLE.format(value);
  return String(Number(value.toPrecision(digits)));
}

/** A lap: 12.345 s, 1:02.345 */
export function lap(seconds: Maybe): string {
  if (isNone(seconds)) return NONE;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${seconds.toFixed(3)} s`;
  return `${minutes}:${(seconds - minutes * 60).toFixed(3).padStart(6, "0")}`;
}

export const percent = (share: Maybe): string => (isNone(share) ? NONE : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`);

export const milliseconds = (seconds: Maybe): string => (isNone(seconds) ? NONE : `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`);

export const bytes = (size: Maybe): string =>
  isNone(size) ? NONE : size < 1e3 ? `${size} B` : size < 1e6 ? `${(size / 1e3).toFixed(0)} kB` : size < 1e9 ? `${(size / 1e6).toFixed(1)} MB` : `${(size / 1e9).toFixed(1)} GB`;

/** How long ago: 5 s, 3 min, 2 h, 4 days.  ``now`` and ``then`` in seconds since 1970. */
export function ago(then: Maybe, now: number = Date.now() / 1000): string {
  if (isNone(then)) return "never";
  return `${duration(Math.max(0, now - then))} ago`;
}

export function duration(seconds: Maybe): string {
  if (isNone(seconds)) return NONE;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** A moment, in the reader's own zone: 14:03:07 today, else with the date. */
export function moment(seconds: Maybe): string {
  if (isNone(seconds)) return NONE;
  const then = new Date(seconds * 1000);
  const time = then.toLocaleTimeString([], { hour12: false });
  return then.toDateString() === new Date().toDateString()
    ? time
    : `${then.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" })}, ${time}`;
}

/** A value of a configuration, as one would write it. */
export const written = (value: unknown): string => (value === undefined ? "not set" : typeof value === "string" ? value : JSON.stringify(value));
