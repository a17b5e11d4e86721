/** Everything that was measured, in groups, each with a sentence on what it is. */

import { useMemo } from "preact/hooks";
import * as api from "../api";
import { Curve } from "../charts/curve";
import { linesOf } from "../charts/lines";
import { ChartBar, useChartSettings, type ChartSettings } from "../components/chartbar";
import { Prose } from "../components/prose";
import { Shown } from "../components/shown";
import { useCurves, type Curves } from "../curves";
import { useLoad } from "../loading";
import type { MetricInfo, Metrics } from "../types";

export function MetricsView({ run }: { run: string }) {
  const known = useLoad(() => api.metrics(run, []), run);
  return (
    <Shown of={known}>
      {(metrics) => (metrics.names.length === 0 ? <p class="empty">Nothing was measured yet: that begins with the first updates.</p> : <Groups run={run} metrics={metrics} />)}
    </Shown>
  );
}

function Groups({ run, metrics }: { run: string; metrics: Metrics }) {
  const settings = useChartSettings();
  const curves = useCurves(run, metrics.names);
  const groups = useMemo(() => grouped(metrics), [metrics]);
  return (
    <>
      <div class="sticky">
        <ChartBar settings={settings} />
        <a class="button" href={api.csvAddress(run, metrics.names)} download={`${run}.csv`}>
          Download CSV
        </a>
      </div>
      {groups.map(([group, members]) => (
        <section key={group} class="group" aria-label={group}>
          <h2>{group}</h2>
          <div class="metrics">
            {members.map((info) => (
              <Metric key={info.name} info={info} curves={curves} settings={settings} />
            ))}
          </div>
        </section>
      ))}
    </>
  );
}

function Metric({ info, curves, settings }: { info: MetricInfo; curves: Curves; settings: ChartSettings }) {
  const { axis, smoothing } = settings;
  const series = curves.series[info.name];
  const lines = useMemo(() => linesOf(series, info.unit || "value", "--accent", axis, smoothing), [series, axis, smoothing]);
  return (
    <div class="card metric">
      <Curve
        title={info.title}
        lines={lines}
        isTime={axis === "time"}
        xLabel={axis}
        zoom={settings.zoom}
        onZoom={settings.setZoom}
        height={150}
        sync="metrics"
      />
      <p class="note">
        <Prose text={info.description} /> {info.healthy && <span class="healthy">Healthy: {info.healthy.charAt(0).toLowerCase() + info.healthy.slice(1)}</span>}
      </p>
    </div>
  );
}

/** What the driving brings comes first; then what explains it. */
const FIRST = ["Training episodes", "Evaluation", "Policy", "Critics", "Pace"];

function grouped(metrics: Metrics): [string, MetricInfo[]][] {
  const groups = new Map<string, MetricInfo[]>();
  const described = new Map((metrics.info ?? []).map((info) => [info.name, info]));
  for (const name of metrics.names) {
    const info = described.get(name) ?? { name, title: name, group: "Other", unit: "", description: "", healthy: "", better: null };
    groups.set(info.group, [...(groups.get(info.group) ?? []), info]);
  }
  const place = (group: string) => (FIRST.indexOf(group) + FIRST.length + 1) % (FIRST.length + 1);
  return [...groups].sort(([a], [b]) => place(a) - place(b) || a.localeCompare(b));
}
