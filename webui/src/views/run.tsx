/** One run: its head, and the tab that the address names. */

import { useState } from "preact/hooks";
import * as api from "../api";
import { Action } from "../components/action";
import { RunActions } from "../components/runactions";
import { Shown } from "../components/shown";
import { AILING, State } from "../components/state";
import { compact, lap, measured } from "../format";
import { useLive, useLoad } from "../loading";
import { go, to } from "../route";
import { useMay } from "../session";
import type { Run } from "../types";
import { ConfigurationView } from "./configuration";
import { Episodes } from "./episodes";
import { MetricsView } from "./metrics";
import { NewRun } from "./newrun";
import { RunLog } from "./runlog";
import { Watch } from "./watch";
import { WeightsView } from "./weights";

const TABS = { watch: "Watch", metrics: "Metrics", episodes: "Episodes", config: "Configuration", weights: "Weights", log: "Log" };

export function RunView({ name, tab }: { name: string; tab: string }) {
  const run = useLoad(() => api.run(name), name);
  const [revision, setRevision] = useState(0);
  useLive(["run", "episode", "weights", "node", "problem"], name, {
    fresh: run.reload,
    event: (event) => {
      if (event.topic === "node" && !run.data?.problem && !AILING.includes(event.data["state"])) return;
      if (event.data["deleted"] === true) go("runs");
      if (typeof event.data["revision"] === "number") setRevision(event.data["revision"]);
      run.reload();
    },
  });
  return (
    <Shown of={run}>
      {(loaded) => (
        <>
          <Head run={loaded} changed={run.reload} />
          <nav class="tabs" aria-label="About this run">
            {Object.entries(TABS).map(([id, title]) => (
              <a key={id} href={to("runs", name, id)} aria-current={tab === id ? "page" : undefined}>
                {title}
              </a>
            ))}
          </nav>
          <Tab run={loaded} tab={tab} revision={Math.max(revision, loaded.revision)} changed={run.reload} />
        </>
      )}
    </Shown>
  );
}

function Tab({ run, tab, revision, changed }: { run: Run; tab: string; revision: number; changed: () => void }) {
  switch (tab) {
    case "metrics":
      return <MetricsView run={run.name} />;
    case "episodes":
      return <Episodes run={run.name} />;
    case "config":
      return <ConfigurationView run={run.name} newest={revision} changed={changed} />;
    case "weights":
      return <WeightsView run={run.name} />;
    case "log":
      return <RunLog run={run.name} />;
    default:
      return <Watch run={run} />;
  }
}

function Head({ run, changed }: { run: Run; changed: () => void }) {
  const [copying, setCopying] = useState(false);
  const operator = useMay("operator");
  const remove = async () => {
    await api.deleteRun(run.name);
    go("runs");
  };
  const idle = !["running", "paused", "queued"].includes(run.state);
  return (
    <header class="runhead">
      <div class="title">
        <h1>{run.name}</h1>
        <State state={run.state} problem={run.problem} />
        <RunActions run={run} changed={changed} prominent />
        {operator && (
          <div class="actions more">
            <button type="button" class="quiet" onClick={() => setCopying(true)}>
              Copy…
            </button>
            {idle && (
              <Action kind="danger" act={remove} ask={`Delete the run ${run.name} with all its samples, curves and weights? This cannot be undone.`}>
                Delete
              </Action>
            )}
          </div>
        )}
      </div>
      {run.problem !== null && (
        <p class="problem" role="status">
          {run.problem}
        </p>
      )}
      <dl class="facts wide">
        <Fact name="Best lap" value={lap(run.best_lap_s)} strong />
        <Fact name="Updates" value={compact(run.update)} />
        <Fact name="Updates/s" value={run.state === "running" ? measured(run.updates_per_s, 3) : "–"} />
        <Fact name="Transitions" value={compact(run.transitions)} />
        <Fact name="Episodes" value={compact(run.episodes)} />
        <Fact name="Trainer" value={run.trainer || "none"} />
        <Fact name="Workers" value={run.workers?.length ? run.workers.join(", ") : "none"} />
      </dl>
      {copying && <NewRun copyOf={run.name} close={() => setCopying(false)} changed={changed} />}
    </header>
  );
}

function Fact({ name, value, strong = false }: { name: string; value: string; strong?: boolean }) {
  return (
    <div class={strong ? "strong" : undefined}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
