/** The tracks: those on the relay's shelf and those that are driven, each with its line, and who drives it best. */

import { useEffect, useRef } from "preact/hooks";
import * as api from "../api";
import { TrackPreview } from "../charts/map";
import { Action } from "../components/action";
import { Shown } from "../components/shown";
import { ago, lap, measured, whole } from "../format";
import { useLive, useLoad, useTick } from "../loading";
import { done, failed } from "../notices";
import { to } from "../route";
import { useMay } from "../session";
import type { Board, LeaderboardEntry, Run, ShelfItem } from "../types";

/** What `tmrld eval` has to be told of a track that the simulator does not have. */
const IN_THE_GAME = " --game trackmania";

interface Known {
  shelf: ShelfItem[];
  boards: Board[];
  runs: Run[];
}

const known = async (): Promise<Known> => {
  const [shelf, boards, runs] = await Promise.all([api.tracks(), api.leaderboard(), api.runs()]);
  return { shelf, boards, runs };
};

export function Tracks() {
  const all = useLoad(known, "tracks");
  const operator = useMay("operator");
  useLive(["shelf", "score", "run"], null, { fresh: all.reload, event: all.reload });
  const now = useTick(30); // a run's own evaluations come too often to look at each
  useEffect(all.reload, [now]);
  return (
    <>
      <div class="title">
        <h1>Tracks</h1>
        {operator && <Upload changed={all.reload} />}
      </div>
      <Shown of={all}>
        {(found) =>
          namesOf(found).length === 0 ? (
            <p class="empty">
              No track is known yet. The simulator's appear with the first evaluation; one of the game is recorded with <code>tmrld track record NAME</code>, and uploaded here.
            </p>
          ) : (
            <ul class="tracks">
              {namesOf(found).map((name) => (
                <TrackCard key={name} name={name} known={found} changed={all.reload} />
              ))}
            </ul>
          )
        }
      </Shown>
    </>
  );
}

/** Those that somebody drives first, then the others; by name. */
function namesOf({ shelf, boards }: Known): string[] {
  const driven = [...new Set(boards.map((board) => board.track))].sort();
  const others = shelf.map((item) => item.name).filter((name) => !driven.includes(name));
  return [...driven, ...others.sort()];
}

function TrackCard({ name, known, changed }: { name: string; known: Known; changed: () => void }) {
  const operator = useMay("operator");
  const item = known.shelf.find((each) => each.name === name);
  const driving = known.runs.find((run) => trackOf(run) === name);
  const line = useLoad(() => lineOf(item, driving), `${name} ${item?.sha256 ?? ""} ${driving?.name ?? ""}`);
  const boards = known.boards.filter((board) => board.track === name);
  return (
    <li class="card track">
      <div class="cardhead">
        <h2>{name}</h2>
        {boards.map((board) => board.game !== "" && <span class="tag">{board.game === "sim" ? "simulator" : "TrackMania"}</span>)}
        {item && (
          <span class="actions more">
            <a class="button quiet" href={api.trackAddress(name)} download>
              Download
            </a>
            {operator && (
              <Action
                kind="danger"
                label={`Delete ${name}`}
                ask={`Delete the track ${name} from this relay?`}
                act={async () => {
                  await api.deleteTrack(name);
                  done(`${name} is deleted.`);
                  changed();
                }}
              >
                Delete
              </Action>
            )}
          </span>
        )}
      </div>
      <div class="trackparts">
        <div>
          {line.data ? <TrackPreview track={line.data} /> : <p class="note">{line.data === null ? "Its line is not known to the relay." : "Loading…"}</p>}
          {item && <Facts item={item} />}
        </div>
        <div class="boards">
          {boards.length === 0 ? (
            <p class="note">
              Nobody has been evaluated on it yet: <code>tmrld eval WEIGHTS --track {name} --publish{item ? IN_THE_GAME : ""}</code>
            </p>
          ) : (
            boards.map((board) => <Ranking key={board.game} board={board} several={boards.length > 1} changed={changed} />)
          )}
        </div>
      </div>
    </li>
  );
}

function trackOf(run: Run): string {
  const environment = run.config["environment"];
  const track = typeof environment === "object" && environment !== null && !Array.isArray(environment) ? environment["track"] : "";
  return typeof track === "string" ? track : "";
}

/** The line of the shelf, or the one that the workers of a run have told; null where there is neither. */
async function lineOf(item: ShelfItem | undefined, driving: Run | undefined) {
  if (item) return api.trackLine(item.name);
  if (!driving) return null;
  return api.track(driving.name).catch((error: unknown) => {
    if (error instanceof api.Problem && error.status === 404) return null;
    throw error;
  });
}

function Facts({ item }: { item: ShelfItem }) {
  const { length_m, lap_time_s, source } = item.about;
  const now = useTick(60);
  return (
    <dl class="facts">
      <Fact name="Length">{typeof length_m === "number" ? `${whole(length_m)} m` : "–"}</Fact>
      {typeof lap_time_s === "number" && <Fact name="Recorded lap">{lap(lap_time_s)}</Fact>}
      <Fact name={typeof source === "string" ? source.charAt(0).toUpperCase() + source.slice(1) : "Made"}>{ago(item.made, now)}</Fact>
      {item.runs.length > 0 && <Fact name="Driven by">{item.runs.join(", ")}</Fact>}
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Ranking({ board, several, changed }: { board: Board; several: boolean; changed: () => void }) {
  const operator = useMay("operator");
  const now = useTick(60);
  const title = several ? `Who drives best ${board.game === "sim" ? "in the simulator" : "in TrackMania"}` : "Who drives best";
  return (
    <section>
      <h3>{title}</h3>
      <div class="scroll" tabIndex={0} role="region" aria-label={`${title}: ${board.track}`}>
        <table>
          <thead>
            <tr>
              <th class="number">#</th>
              <th>Policy</th>
              <th class="number">Finished</th>
              <th class="number">Median lap</th>
              <th class="number">Best lap</th>
              <th class="number">Reward</th>
              <th>When</th>
              {operator && (
                <th>
                  <span class="hidden">Actions</span>
                </th>
              )}
            </tr>
          </thead>
          <tbody>
            {board.entries.map((entry) => (
              <tr key={`${entry.source} ${entry.evaluation ?? entry.weights.run}`}>
                <td class="number">{entry.rank}</td>
                <td>
                  <Policy entry={entry} />
                </td>
                <td class="number">
                  {whole(entry.score.finished)} of {whole(entry.score.episodes)}
                </td>
                <td class="number">{lap(entry.score.median_lap_s)}</td>
                <td class="number">{lap(entry.score.best_lap_s)}</td>
                <td class="number">{measured(entry.score.mean_return)}</td>
                <td>{ago(entry.created, now)}</td>
                {operator && (
                  <td class="end">
                    {entry.evaluation !== null && (
                      <Action
                        kind="quiet"
                        label={`Take back the evaluation of ${entry.weights.name}`}
                        ask={`Take the evaluation of ${entry.weights.name} off the board?`}
                        act={async () => {
                          await api.deleteEvaluation(Number(entry.evaluation));
                          changed();
                        }}
                      >
                        Take back
                      </Action>
                    )}
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Policy({ entry }: { entry: LeaderboardEntry }) {
  const { weights } = entry;
  const league = entry.league;
  return (
    <>
      {entry.source === "run" && weights.run !== null ? <a href={to("runs", weights.run, "weights")}>{weights.name}</a> : weights.name}
      {entry.perturbed && <span class="tag">perturbed starts</span>}
      {league && <span class="tag accent">{league.eliminated ? "league: out" : `league: ${lap(league.mean_s)}`}</span>}
      <br />
      <small>{[weights.version === null ? "" : `version ${whole(weights.version)}`, entry.author === null ? "its run's own evaluation" : `published by ${entry.author}`, entry.note].filter(Boolean).join(" · ")}</small>
    </>
  );
}

/** Put the line of a map on the shelf, called as its file is. */
function Upload({ changed }: { changed: () => void }) {
  const input = useRef<HTMLInputElement>(null);
  const take = async (file: File | undefined): Promise<void> => {
    if (!file) return;
    const name = file.name
      .replace(/\.[^.]*$/, "")
      .toLowerCase()
      .replace(/[^a-z0-9._-]+/g, "-")
      .replace(/^[^a-z0-9]+/, "");
    try {
      const item = await api.putTrack(name, file);
      done(`${item.name} is on the shelf.`);
      changed();
    } catch (error) {
      failed(error);
    }
    if (input.current) input.current.value = "";
  };
  return (
    <>
      <input ref={input} type="file" class="hidden" tabIndex={-1} accept=".npy,.txt,.csv" aria-label="File with the line of a track" onChange={(event) => void take(event.currentTarget.files?.[0])} />
      <button type="button" class="primary" title="The line of a map: .npy, or text with x, y, z per line" onClick={() => input.current?.click()}>
        Upload a track
      </button>
    </>
  );
}
