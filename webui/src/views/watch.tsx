/** The run as it happens: curves, the map, what the car sees, and who holds it up. */

import { useMemo, useState } from "preact/hooks";
import * as api from "../api";
import { Camera } from "../charts/camera";
import { Curve, type Line } from "../charts/curve";
import { dotsOf, linesOf } from "../charts/lines";
import { TrackMap } from "../charts/map";
import { ChartBar, useChartSettings, type ChartSettings } from "../components/chartbar";
import { Health } from "../components/health";
import { useCurves } from "../curves";
import { lap, measured } from "../format";
import { useLive, useLoad } from "../loading";
import { updatesBetween } from "../series";
import { lineOf } from "../trajectory";
import type { DrivenEpisode, Preview, Run } from "../types";

/** The curves that say whether it learns. */
const REWARD = { train: "training_return", evaluation: "evaluation_return" };
const LAP = { train: "training_lap_s", evaluation: "evaluation_lap_s" };
const NAMES = [REWARD.train, REWARD.evaluation, LAP.train, LAP.evaluation];

export function Watch({ run }: { run: Run }) {
  return (
    <div class="watch">
      <Health run={run.name} />
      <Curves run={run.name} />
      <section class="card where" aria-labelledby="map-title">
        <Drive run={run} />
      </section>
      <section class="card sees" aria-labelledby="camera-title">
        <Sees run={run} />
      </section>
    </div>
  );
}

function Curves({ run }: { run: string }) {
  const settings = useChartSettings();
  const whole = useCurves(run, NAMES);
  const longest = Object.values(whole.series).reduce<(typeof whole.series)[string] | undefined>(
    (most, one) => (one.updates.length > (most?.updates.length ?? 0) ? one : most),
    undefined,
  );
  const range = settings.zoom !== null && longest ? updatesBetween(longest, settings.axis, ...settings.zoom) : null;
  const detail = useDetail(run, range);
  return (
    <section class="card curves" aria-label="Curves">
      <ChartBar settings={settings} />
      <Pair settings={settings} series={detail ?? whole.series} loaded={whole.loaded} />
      <Bottleneck run={run} />
    </section>
  );
}

type SeriesOf = ReturnType<typeof useCurves>["series"];

/** These updates in the detail that the thinned whole does not have; undefined while it is not there, or not asked for. */
function useDetail(run: string, range: [number, number] | null): SeriesOf | undefined {
  const found = useLoad(
    async () => (range === null ? null : api.metrics(run, NAMES, { start: range[0], stop: range[1] })),
    `${run} ${range?.join("-") ?? ""}`,
  );
  return useMemo(() => found.data && Object.fromEntries(found.data.series.map((one) => [one.name, one])), [found.data]) ?? undefined;
}

function Pair({ settings, series, loaded }: { settings: ChartSettings; series: SeriesOf; loaded: boolean }) {
  const { axis, smoothing } = settings;
  const lines = (of: { train: string; evaluation: string }): Line[] => [
    ...linesOf(series[of.train], "Training", "--train", axis, smoothing),
    ...dotsOf(series[of.evaluation], "Evaluation", "--accent", axis),
  ];
  const reward = useMemo(() => lines(REWARD), [series, axis, smoothing]);
  const laps = useMemo(() => lines(LAP), [series, axis, smoothing]);
  if (!loaded) return <p class="note loading charts">Loading…</p>;
  if (reward.length === 0)
    return <p class="empty">The curves begin when the first episode has ended and the first updates are made.</p>;
  const common = { isTime: axis === "time", xLabel: axis, zoom: settings.zoom, onZoom: settings.setZoom, sync: "watch", level: "h2" as const };
  return (
    <>
      <Curve {...common} title="Reward of an episode" lines={reward} height={230} />
      {laps.length > 0 ? (
        <Curve {...common} title="Lap time" lines={laps} height={170} write={(value) => lap(value).replace(/\.?0+( s)?$/, "$1")} />
      ) : (
        <p class="note soon">Lap times appear here with the first lap that is finished.</p>
      )}
    </>
  );
}

function Bottleneck({ run }: { run: string }) {
  const found = useLoad(() => api.bottleneck(run), run);
  useLive(["node"], run, { fresh: found.reload, event: found.reload });
  if (found.data === undefined) return null;
  return (
    <div class="bottleneck">
      <ol class="stages" aria-label="Stages of training">
        {["collecting", "sending", "sampling", "updating"].map((part) => (
          <li key={part} class={part === found.data?.part ? "slowest" : undefined} aria-current={part === found.data?.part ? "true" : undefined}>
            {part}
          </li>
        ))}
      </ol>
      <span>{found.data.sentence}</span>
    </div>
  );
}

function Drive({ run }: { run: Run }) {
  const { name } = run;
  const driving = run.episodes > 0;
  const track = useLoad(async () => (driving ? orNothing(api.track(name)) : null), `${name} ${driving}`);
  const last = useLoad(async () => (driving ? orNothing(api.episode(name, "latest")) : null), `${name} ${driving}`);
  const best = useLoad(async () => (run.best_lap_s === null ? null : orNothing(api.episode(name, "best"))), `${name} ${run.best_lap_s}`);
  useLive(["episode"], name, { fresh: last.reload, event: last.reload });
  const driven = last.data ?? undefined;
  const line = useMemo(() => lineOf(last.data), [last.data]);
  const ghost = useMemo(() => lineOf(best.data), [best.data]);
  return (
    <>
      <div class="cardhead below">
        <h2 id="map-title">Last line driven</h2>
        {driven && <p class="note">{sentence(driven)}</p>}
      </div>
      {track.data || line ? (
        <TrackMap track={track.data ?? undefined} last={line} best={ghost} />
      ) : (
        <p class="empty">The map appears when the first episode has been driven.</p>
      )}
    </>
  );
}

function sentence(driven: DrivenEpisode): string {
  const who = driven.purpose === "evaluation" ? "Evaluation" : driven.actor === "policy" ? `Version ${driven.weights_version}` : `Driven by ${driven.actor}`;
  const how = driven.finished ? `a lap in ${lap(driven.lap_time_s)}` : driven.progress === null ? `${driven.steps} steps` : `${(driven.progress * 100).toFixed(0)} % of the track`;
  return `${who}, ${how}, reward ${measured(driven.episode_return, 3)}`;
}

/** What is not there yet is nothing, not an error. */
async function orNothing<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof api.Problem && error.status === 404) return null;
    throw error;
  }
}

function Sees({ run }: { run: Run }) {
  const [watched, setWatched] = useState(true);
  return (
    <>
      <div class="cardhead">
        <h2 id="camera-title">What the car sees</h2>
        <label class="inline">
          <input type="checkbox" checked={watched} onChange={(event) => setWatched(event.currentTarget.checked)} /> Live
        </label>
      </div>
      {watched ? <LiveCamera run={run} /> : <p class="empty">Not watched: the workers send no pictures.</p>}
    </>
  );
}

function LiveCamera({ run }: { run: Run }) {
  const [frames, setFrames] = useState<Record<string, Preview>>({});
  const [chosen, setChosen] = useState<string | null>(null);
  useLive(["preview"], run.name, {
    fresh: () => undefined,
    event: ({ topic, data }) => {
      const frame = data as unknown as Preview;
      if (topic === "preview") setFrames((old) => ({ ...old, [frame.worker]: frame }));
    },
  });
  const workers = Object.keys(frames).sort();
  const worker = chosen !== null && workers.includes(chosen) ? chosen : (workers[0] ?? null);
  if (worker === null)
    return <p class="empty">{run.state === "running" ? "Waiting for a worker's picture." : "Pictures come while the run is driven."}</p>;
  return (
    <>
      {workers.length > 1 && (
        <label class="inline">
          Worker
          <select value={worker} onChange={(event) => setChosen(event.currentTarget.value)}>
            {workers.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      )}
      <Camera frame={frames[worker] ?? null} />
    </>
  );
}
