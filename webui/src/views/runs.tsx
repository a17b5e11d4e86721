import { useState } from "preact/hooks";
import * as api from "../api";
import { Spark } from "../charts/spark";
import { RunActions } from "../components/runactions";
import { Shown } from "../components/shown";
import { AILING, State } from "../components/state";
import { ago, compact, lap, measured, whole } from "../format";
import { useLive, useLoad, useTick } from "../loading";
import { to } from "../route";
import { useMay } from "../session";
import type { Run } from "../types";
import { FirstVisit } from "./first";
import { NewRun } from "./newrun";

/** All runs at a glance. */
export function Runs() {
  const runs = useLoad(api.runs, "runs");
  const [making, setMaking] = useState(false);
  const operator = useMay("operator");
  useLive(["run", "episode", "weights", "node", "problem"], null, {
    fresh: runs.reload,
    event: (event) => {
      const ailing = runs.data?.find((run) => run.name === event.run)?.problem || AILING.includes(event.data["state"]);
      if (event.topic !== "node" || ailing) runs.reload();
    },
  });
  const now = useTick(20);

  return (
    <>
      <Shown of={runs}>
        {(items) =>
          items.length === 0 ? (
            <FirstVisit make={() => setMaking(true)} changed={runs.reload} />
          ) : (
            <>
              <div class="title">
                <h1>Runs</h1>
                {operator && (
                  <button type="button" class="primary" onClick={() => setMaking(true)}>
                    New run
                  </button>
                )}
              </div>
              <ul class="runs">
                {[...items].sort(byInterest).map((run) => (
                  <RunCard key={run.name} run={run} changed={runs.reload} now={now} />
                ))}
              </ul>
            </>
          )
        }
      </Shown>
      {making && <NewRun close={() => setMaking(false)} changed={runs.reload} />}
    </>
  );
}

const ORDER = ["running", "paused", "queued", "failed"];

function byInterest(a: Run, b: Run): number {
  const rank = (run: Run) => (ORDER.indexOf(run.state) + ORDER.length + 1) % (ORDER.length + 1);
  return rank(a) - rank(b) || b.created - a.created;
}

function RunCard({ run, changed, now }: { run: Run; changed: () => void; now: number }) {
  return (
    <li class="card run">
      <div class="name">
        <h2>
          <a href={to("runs", run.name)}>{run.name}</a>
        </h2>
        <p class="note">
          <State state={run.state} problem={run.problem} />
          {run.state === "queued" && run.queued_position ? ` ${whole(run.queued_position)} in line` : ""} · made {ago(run.created, now)}
        </p>
      </div>
      <Spark values={run.spark ?? []} label={`Returns of the last episodes, ${measured(run.last_return)} at last`} />
      <dl class="facts">
        <Fact name="Best lap">{lap(run.best_lap_s)}</Fact>
        <Fact name="Updates">{compact(run.update)}</Fact>
        <Fact name="Updates/s">{run.state === "running" ? measured(run.updates_per_s, 3) : "–"}</Fact>
        <Fact name="Transitions">{compact(run.transitions)}</Fact>
        <Fact name="Episodes">{compact(run.episodes)}</Fact>
      </dl>
      <RunActions run={run} changed={changed} />
    </li>
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
