/** The track from above: the line just driven, coloured by speed, over the best lap. */

import { useMemo, useState } from "preact/hooks";
import { measured } from "../format";
import { colour } from "../theme";
import type { Track, Trajectory } from "../types";
import { Canvas } from "./canvas";

const MARGIN = 22;

/** Slow to fast, of even lightness steps, readable without telling red from green (after viridis, matplotlib). */
const SPEEDS = ["--speed-0", "--speed-1", "--speed-2", "--speed-3", "--speed-4"];

interface View {
  x: (metres: number) => number;
  y: (metres: number) => number;
  scale: number;
}

export function TrackMap({ track, last, best }: { track: Track | undefined; last: Trajectory | undefined; best: Trajectory | undefined }) {
  const [at, setAt] = useState<number | null>(null);
  const fastest = Math.max(1, ...(last?.speed ?? []));
  const bounds = useMemo(() => boundsOf(track, last, best), [track, last, best]);
  const aspect = Math.min(0.8, Math.max(0.42, bounds.height / bounds.width));

  const draw = useMemo(
    () => (context: CanvasRenderingContext2D, width: number, height: number) => {
      const view = fitted(bounds, width, height);
      if (track) drawTrack(context, view, track);
      if (best) drawGhost(context, view, best);
      if (last) drawBySpeed(context, view, last, fastest);
      if (last && at !== null) drawCar(context, view, last, at);
    },
    [track, last, best, at, bounds, fastest],
  );

  const speed = last && at !== null ? last.speed[at] : undefined;
  const time = last && at !== null ? last.time[at] : undefined;
  return (
    <div class="map">
      <Canvas
        label={`Map of ${track ? `the track ${track.name}` : "the drive"}: ${last ? `the last line reached ${measured(fastest * 3.6, 3)} km/h` : "no line yet"}${best ? ", the best lap is dashed" : ""}.`}
        aspect={aspect}
        draw={draw}
        onPoint={(point) => setAt(point && last ? nearest(last, fitted(bounds, point.width, point.width * aspect), point.x, point.y) : null)}
      />
      <div class="legend">
        <span class="key">
          0 <i class="ramp" /> {measured(fastest * 3.6, 3)} km/h
        </span>
        {best && (
          <span class="key">
            <i class="swatch ghost" /> best lap
          </span>
        )}
        <span class="key at">{speed !== undefined && time !== undefined ? `${time.toFixed(1)} s: ${(speed * 3.6).toFixed(0)} km/h` : ""}</span>
      </div>
    </div>
  );
}

/** The road alone, small, for a list. */
export function TrackPreview({ track }: { track: Track }) {
  const bounds = useMemo(() => boundsOf(track), [track]);
  const draw = useMemo(
    () => (context: CanvasRenderingContext2D, width: number, height: number) => drawTrack(context, fitted(bounds, width, height), track),
    [track, bounds],
  );
  return (
    <div class="map">
      <Canvas label={`The line of the track ${track.name}`} aspect={0.62} draw={draw} />
    </div>
  );
}

interface Bounds {
  left: number;
  bottom: number;
  width: number;
  height: number;
}

function boundsOf(...shapes: ({ x: number[]; z: number[]; width_m?: number | null } | undefined)[]): Bounds {
  // The track, once known, holds the view still; without it the lines do.
  const known = shapes.filter((shape) => shape !== undefined && shape.x.length > 0);
  const used = known[0] === shapes[0] ? known.slice(0, 1) : known;
  const xs = used.flatMap((shape) => shape?.x ?? []);
  const zs = used.flatMap((shape) => shape?.z ?? []);
  if (xs.length === 0) return { left: 0, bottom: 0, width: 1, height: 1 };
  const air = (used[0]?.width_m ?? 16) / 2;
  const [left, right] = [Math.min(...xs) - air, Math.max(...xs) + air];
  const [bottom, top] = [Math.min(...zs) - air, Math.max(...zs) + air];
  return { left, bottom, width: right - left, height: top - bottom };
}

function fitted(bounds: Bounds, width: number, height: number): View {
  const scale = Math.min((width - 2 * MARGIN) / bounds.width, (height - 2 * MARGIN) / bounds.height);
  const left = (width - bounds.width * scale) / 2;
  const top = (height - bounds.height * scale) / 2;
  return {
    scale,
    x: (metres) => left + (metres - bounds.left) * scale,
    y: (metres) => height - top - (metres - bounds.bottom) * scale,
  };
}

function path(context: CanvasRenderingContext2D, view: View, line: { x: number[]; z: number[] }): void {
  context.beginPath();
  line.x.forEach((x, index) => context.lineTo(view.x(x), view.y(line.z[index] ?? 0)));
}

function drawTrack(context: CanvasRenderingContext2D, view: View, track: Track): void {
  context.lineJoin = context.lineCap = "round";
  const road = Math.max(5, (track.width_m ?? 12) * view.scale);
  path(context, view, track);
  context.strokeStyle = colour("--road-edge");
  context.lineWidth = road + 2;
  context.stroke();
  context.strokeStyle = colour("--road");
  context.lineWidth = road;
  context.stroke();
  const [x0, z0, x1, z1] = [track.x[0], track.z[0], track.x[1], track.z[1]];
  if (x0 === undefined || z0 === undefined || x1 === undefined || z1 === undefined) return;
  const angle = Math.atan2(view.y(z1) - view.y(z0), view.x(x1) - view.x(x0)) + Math.PI / 2;
  const [dx, dy] = [(Math.cos(angle) * road) / 2, (Math.sin(angle) * road) / 2];
  context.beginPath();
  context.moveTo(view.x(x0) - dx, view.y(z0) - dy);
  context.lineTo(view.x(x0) + dx, view.y(z0) + dy);
  context.strokeStyle = colour("--text");
  context.lineWidth = 2.5;
  context.lineCap = "butt";
  context.stroke();
}

function drawGhost(context: CanvasRenderingContext2D, view: View, line: Trajectory): void {
  path(context, view, line);
  context.strokeStyle = colour("--muted");
  context.lineWidth = 1.5;
  context.setLineDash([5, 4]);
  context.stroke();
  context.setLineDash([]);
}

function drawBySpeed(context: CanvasRenderingContext2D, view: View, line: Trajectory, fastest: number): void {
  const ramp = SPEEDS.map((name) => rgb(colour(name)));
  context.lineWidth = 3;
  context.lineCap = "round";
  for (let index = 1; index < line.x.length; index += 1) {
    context.beginPath();
    context.moveTo(view.x(line.x[index - 1] ?? 0), view.y(line.z[index - 1] ?? 0));
    context.lineTo(view.x(line.x[index] ?? 0), view.y(line.z[index] ?? 0));
    context.strokeStyle = mixed(ramp, (line.speed[index] ?? 0) / fastest);
    context.stroke();
  }
  drawCar(context, view, line, line.x.length - 1);
}

function drawCar(context: CanvasRenderingContext2D, view: View, line: Trajectory, at: number): void {
  const [x, z] = [line.x[at], line.z[at]];
  if (x === undefined || z === undefined) return;
  context.beginPath();
  context.arc(view.x(x), view.y(z), 5, 0, 2 * Math.PI);
  context.fillStyle = colour("--text");
  context.fill();
  context.lineWidth = 2;
  context.strokeStyle = colour("--surface");
  context.stroke();
}

function rgb(hex: string): [number, number, number] {
  const value = Number.parseInt(hex.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

function mixed(ramp: [number, number, number][], share: number): string {
  const place = Math.min(0.9999, Math.max(0, share)) * (ramp.length - 1);
  const from = ramp[Math.floor(place)] ?? [0, 0, 0];
  const until = ramp[Math.floor(place) + 1] ?? from;
  const part = place - Math.floor(place);
  return `rgb(${from.map((value, index) => Math.round(value + ((until[index] ?? 0) - value) * part)).join()})`;
}

function nearest(line: Trajectory, view: View, x: number, y: number): number | null {
  let found: number | null = null;
  let least = 60 ** 2; // pixels within which the pointer means a point of the line
  line.x.forEach((metres, index) => {
    const distance = (view.x(metres) - x) ** 2 + (view.y(line.z[index] ?? 0) - y) ** 2;
    if (distance < least) [found, least] = [index, distance];
  });
  return found;
}
