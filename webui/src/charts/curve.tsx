/** A chart of curves over a common x axis; this folder alone knows uPlot. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useEffect, useRef, useState } from "preact/hooks";
import { compact, measured, moment } from "../format";
import { colour, whenThemeChanges } from "../theme";

export interface Line {
  label: string;
  x: number[];
  y: (number | null)[];
  /** Name of the colour in the style sheet. */
  colour: string;
  /** faint: the raw values behind a smoothed line; dots: few points, each of which matters. */
  look?: "line" | "faint" | "dots";
}

export type Zoom = [number, number] | null;

export interface CurveProps {
  title: string;
  lines: Line[];
  /** Writes a y value; default: four digits. */
  write?: (value: number) => string;
  isTime: boolean;
  xLabel: string;
  zoom: Zoom;
  onZoom: (zoom: Zoom) => void;
  height?: number;
  /** The rank of its title on the page. */
  level?: "h2" | "h3";
  /** Charts with the same word show their values at the same x. */
  sync?: string;
}

const FONT = '11px ui-sans-serif, system-ui, "Segoe UI", Roboto, sans-serif';

export function Curve(props: CurveProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const newest = useRef(props);
  newest.current = props;
  const [hover, setHover] = useState<(number | null)[] | null>(null);
  const shape = props.lines.map((line) => `${line.label}/${line.colour}/${line.look ?? ""}`).join("|") + props.isTime;
  const write = props.write ?? ((value: number) => measured(value));

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const chart = new uPlot(options(newest, element, setHover), joined(newest.current.lines), element);
    plot.current = chart;
    show(chart, newest.current);
    const resized = new ResizeObserver(() => {
      // Setting a size forgets what is read at the cursor, and an observer calls once at the beginning.
      if (element.clientWidth !== chart.width) chart.setSize({ width: element.clientWidth, height: chart.height });
    });
    resized.observe(element);
    const unlisten = whenThemeChanges(() => chart.redraw(false));
    return () => {
      unlisten();
      resized.disconnect();
      chart.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => {
    const frame = requestAnimationFrame(() => plot.current && show(plot.current, newest.current));
    return () => cancelAnimationFrame(frame);
  }, [props.lines, props.zoom?.[0], props.zoom?.[1], props.height]);

  const shown = props.lines.map((line, index) => ({ line, index })).filter(({ line }) => line.look !== "faint");
  const x = hover?.[0];
  const Heading = props.level ?? "h3";
  return (
    <figure class="curve">
      <figcaption>
        <Heading>{props.title}</Heading>
        <div class="legend">
          {shown.map(({ line, index }) => {
            const value = hover ? hover[index + 1] : lastOf(line.y);
            return (
              <span class="key" key={line.label}>
                <i class={`swatch ${line.look ?? "line"}`} style={{ color: `var(${line.colour})` }} />
                {line.label} <b>{value === null || value === undefined ? "–" : write(value)}</b>
              </span>
            );
          })}
          <span class="key at">{x === null || x === undefined ? "" : props.isTime ? moment(x) : `${props.xLabel} ${compact(x)}`}</span>
        </div>
      </figcaption>
      <div
        ref={box}
        class="plot"
        tabIndex={0}
        role="img"
        aria-label={described(props, write)}
        onKeyDown={(event) => steer(event, plot.current, newest.current)}
      />
    </figure>
  );
}

const lastOf = (values: (number | null)[]): number | null => values.findLast((value) => value !== null) ?? null;

function described(props: CurveProps, write: (value: number) => string): string {
  const parts = props.lines
    .filter((line) => line.look !== "faint")
    .map((line) => {
      const last = lastOf(line.y);
      return last === null ? `${line.label}: no values yet` : `${line.label}: ${write(last)} at last, ${line.y.length} points`;
    });
  return `${props.title}. ${parts.join("; ")}. Arrow keys read values, plus and minus zoom, 0 shows everything.`;
}

function joined(lines: Line[]): uPlot.AlignedData {
  if (lines.length === 0) return [[]];
  return uPlot.join(lines.map((line) => [line.x, line.y] as uPlot.AlignedData));
}

function show(chart: uPlot, props: CurveProps): void {
  if (chart.select.width > 0) return; // somebody drags over it: what is new is drawn with the next news
  const data = joined(props.lines);
  const x = data[0];
  const low = props.zoom?.[0] ?? x[0] ?? 0;
  const high = props.zoom?.[1] ?? x[x.length - 1] ?? 1;
  chart.batch(() => {
    chart.setData(data, false);
    chart.setScale("x", { min: low, max: high > low ? high : low + 1 });
  });
}

function options(newest: { current: CurveProps }, element: HTMLElement, setHover: (values: (number | null)[] | null) => void): uPlot.Options {
  const { lines, isTime, sync } = newest.current;
  const write = (value: number) => (newest.current.write ?? ((number: number) => measured(number, 3)))(value);
  const axis = { stroke: () => colour("--muted"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, font: FONT };
  return {
    width: element.clientWidth,
    height: newest.current.height ?? 220,
    padding: [8, 22, 0, 0], // at the right half of the last label
    legend: { show: false },
    scales: {
      x: { time: isTime, auto: false },
      y: { range: (_chart, low, high) => roomy(low, high) },
    },
    axes: [
      { ...axis, size: 26, gap: 4, space: 70, ...(isTime ? {} : { values: (_chart: uPlot, ticks: number[]) => ticks.map((tick) => compact(tick)) }) },
      { ...axis, size: 56, gap: 6, values: (_chart: uPlot, ticks: number[]) => ticks.map(write) },
    ],
    cursor: {
      y: false,
      points: { size: 7, width: 2, fill: () => colour("--surface") },
      drag: { x: true, y: false, setScale: false },
      bind: { dblclick: () => () => (newest.current.onZoom(null), null) },
      dataIdx: nearestValue,
      ...(sync === undefined ? {} : { sync: { key: sync, setSeries: false, scales: ["x", null] } }),
    },
    series: [
      {},
      ...lines.map((line): uPlot.Series => ({
        label: line.label,
        stroke: () => colour(line.colour),
        width: line.look === "faint" ? 1 : line.look === "dots" ? 1.5 : 2,
        alpha: line.look === "faint" ? 0.3 : 1,
        spanGaps: true,
        points: line.look === "dots" ? { show: true, size: 6, width: 1.5, fill: () => colour("--surface") } : { show: line.x.length < 3 },
      })),
    ],
    hooks: {
      setCursor: [
        (chart) => {
          const at = chart.cursor.idx;
          if (at === null || at === undefined || (chart.cursor.left ?? -1) < 0) {
            setHover(null);
            return;
          }
          const x = chart.data[0][at] ?? null;
          setHover([x, ...lines.map((_, index) => chart.data[index + 1]?.[chart.cursor.idxs?.[index + 1] ?? at] ?? null)]);
        },
      ],
      setSelect: [
        (chart) => {
          if (chart.select.width < 4) return;
          const from = chart.posToVal(chart.select.left, "x");
          const until = chart.posToVal(chart.select.left + chart.select.width, "x");
          chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          newest.current.onZoom([from, until]);
        },
      ],
    },
  };
}

/** The bounds of y, with some air; a single value gets a scale around it, nothing but zeros one upwards. */
function roomy(low: number | null, high: number | null): uPlot.Range.MinMax {
  if (low === null || high === null) return [0, 1];
  if (low === 0 && high === 0) return [-0.06, 1];
  const air = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  return [low - air, high + air];
}

/** Curves have their points at different x: each tells its value that is nearest to the cursor. */
function nearestValue(chart: uPlot, series: number, hovered: number): number {
  const values = chart.data[series];
  if (series === 0 || values === undefined) return hovered;
  for (let step = 0; step < values.length; step += 1) {
    if (values[hovered - step] !== undefined && values[hovered - step] !== null) return hovered - step;
    if (values[hovered + step] !== undefined && values[hovered + step] !== null) return hovered + step;
  }
  return hovered;
}

/** The chart by keys: arrows read, plus and minus zoom about what is read, 0 and Escape show everything. */
function steer(event: KeyboardEvent, chart: uPlot | null, props: CurveProps): void {
  if (chart === null || event.ctrlKey || event.metaKey || event.altKey) return;
  const width = chart.over.clientWidth;
  const left = chart.cursor.left ?? -1;
  const at = left < 0 ? width / 2 : left;
  const { min = 0, max = 1 } = chart.scales["x"] ?? {};
  const span = (max ?? 1) - (min ?? 0);
  const middle = chart.posToVal(at, "x");
  switch (event.key) {
    case "ArrowLeft":
    case "ArrowRight": {
      const step = (event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? width / 10 : width / 100);
      chart.setCursor({ left: Math.min(width - 1, Math.max(0, at + step)), top: 10 });
      break;
    }
    case "+":
    case "=":
      props.onZoom([middle - span / 4, middle + span / 4]);
      break;
    case "-":
      props.onZoom([middle - span, middle + span]);
      break;
    case "0":
    case "Escape":
      props.onZoom(null);
      break;
    default:
      return;
  }
  event.preventDefault();
}
