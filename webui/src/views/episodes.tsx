import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { TrackMap } from "../charts/map";
import { Action } from "../components/action";
import { Dialog } from "../components/dialog";
import { Shown } from "../components/shown";
import { ago, lap, measured, percent, whole } from "../format";
import { useLive, useLoad, useTick } from "../loading";
import { lineOf } from "../trajectory";
import type { Episode } from "../types";

/** What was driven, newest first, with the line of each. */
export function Episodes({ run }: { run: string }) {
  const [purpose, setPurpose] = useState("");
  const page = useLoad(() => api.episodes(run, { purpose }), `${run} ${purpose}`);
  const [older, setOlder] = useState<{ items: Episode[]; next: string | null }>({ items: [], next: null });
  const [opened, setOpened] = useState<string | null>(null);
  useLive(["episode"], run, { fresh: page.reload, event: page.reload });
  useEffect(() => setOlder({ items: [], next: null }), [run, purpose]);
  const now = useTick(10);

  const cursor = older.items.length > 0 ? older.next : (page.data?.next ?? null);
  const more = async () => {
    const found = await api.episodes(run, { purpose, before: cursor ?? undefined });
    setOlder((old) => ({ items: [...old.items, ...found.items], next: found.next ?? null }));
  };

  return (
    <>
      <div class="chartbar">
        <div class="segments" role="group" aria-label="Which episodes">
          {[
            ["", "All"],
            ["train", "Training"],
            ["evaluation", "Evaluation"],
          ].map(([value = "", title]) => (
            <button key={value} type="button" aria-pressed={purpose === value} onClick={() => setPurpose(value)}>
              {title}
            </button>
          ))}
        </div>
      </div>
      <Shown of={page}>
        {(loaded) => {
          const shown = merged(loaded.items, older.items);
          if (shown.length === 0) return <p class="empty">No such episode was driven to its end yet.</p>;
          return (
            <>
              <Table items={shown} now={now} open={setOpened} />
              {cursor && (
                <div class="actions">
                  <Action act={more}>Show older ones</Action>
                </div>
              )}
            </>
          );
        }}
      </Shown>
      {opened !== null && <Driven run={run} id={opened} close={() => setOpened(null)} />}
    </>
  );
}

/** The newest page and the older ones that were asked for, each episode once. */
function merged(newest: Episode[], older: Episode[]): Episode[] {
  const all = new Map([...newest, ...older].map((episode) => [episode.episode, episode]));
  return [...all.values()].sort((a, b) => b.received - a.received);
}

function Table({ items, now, open }: { items: Episode[]; now: number; open: (id: string) => void }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Episodes">
      <table>
        <thead>
          <tr>
            <th>When</th>
            <th>Purpose</th>
            <th>Driver</th>
            <th class="number">Reward</th>
            <th class="number">Lap</th>
            <th class="number">Progress</th>
            <th class="number">Steps</th>
            <th>Worker</th>
            <th>
              <span class="hidden">Line</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map((episode) => (
            <tr key={episode.episode} class={episode.purpose === "evaluation" ? "evaluation" : undefined}>
              <td>{ago(episode.received, now)}</td>
              <td>{episode.purpose === "train" ? "training" : episode.purpose}</td>
              <td>{episode.actor === "policy" ? `version ${whole(episode.weights_version)}` : episode.actor}</td>
              <td class="number">{measured(episode.episode_return)}</td>
              <td class="number">{episode.finished ? lap(episode.lap_time_s) : "–"}</td>
              <td class="number">{percent(episode.progress)}</td>
              <td class="number">{whole(episode.steps)}</td>
              <td>{episode.worker}</td>
              <td>
                <button type="button" class="quiet" onClick={() => open(episode.episode)} aria-label={`Show the line of the episode from ${ago(episode.received, now)}`}>
                  Line
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Driven({ run, id, close }: { run: string; id: string; close: () => void }) {
  const driven = useLoad(() => api.episode(run, id), `${run} ${id}`);
  const track = useLoad(() => api.track(run), run);
  return (
    <Dialog title="The line of this episode" close={close}>
      <Shown of={driven}>
        {(episode) =>
          lineOf(episode) ? (
            <TrackMap track={track.data} last={lineOf(episode)} best={undefined} />
          ) : (
            <p class="empty">This environment tells no positions.</p>
          )
        }
      </Shown>
    </Dialog>
  );
}
