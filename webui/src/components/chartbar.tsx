import { useState } from "preact/hooks";
import type { Zoom } from "../charts/curve";
import type { XAxis } from "../series";

export interface ChartSettings {
  axis: XAxis;
  smoothing: number;
  zoom: Zoom;
  setAxis: (axis: XAxis) => void;
  setSmoothing: (weight: number) => void;
  setZoom: (zoom: Zoom) => void;
}

/** How curves are looked at, for all charts of a view alike. */
export function useChartSettings(): ChartSettings {
  const [axis, setAxis] = useState<XAxis>("updates");
  const [smoothing, setSmoothing] = useState(0.6);
  const [zoom, setZoom] = useState<Zoom>(null);
  return {
    axis,
    smoothing,
    zoom,
    setAxis: (chosen) => {
      setAxis(chosen);
      setZoom(null);
    },
    setSmoothing,
    setZoom,
  };
}

const AXES: [XAxis, string][] = [
  ["updates", "Updates"],
  ["transitions", "Transitions"],
  ["time", "Time"],
];

export function ChartBar({ settings }: { settings: ChartSettings }) {
  return (
    <div class="chartbar">
      <div class="segments" role="group" aria-label="Along x">
        {AXES.map(([axis, title]) => (
          <button key={axis} type="button" aria-pressed={settings.axis === axis} onClick={() => settings.setAxis(axis)}>
            {title}
          </button>
        ))}
      </div>
      <label class="inline">
        Smoothing
        <input
          type="range"
          min="0"
          max="0.98"
          step="0.02"
          value={settings.smoothing}
          onInput={(event) => settings.setSmoothing(Number(event.currentTarget.value))}
        />
        <output>{settings.smoothing.toFixed(2)}</output>
      </label>
      {settings.zoom !== null ? (
        <button type="button" class="plain" onClick={() => settings.setZoom(null)}>
          Show everything
        </button>
      ) : (
        <span class="note hint">Drag over a chart to zoom</span>
      )}
    </div>
  );
}
