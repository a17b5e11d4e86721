import * as api from "../api";
import { done } from "../notices";
import { useMay } from "../session";
import type { Run } from "../types";
import { Action } from "./action";

/** What can be done with a run in its present state. */
export function RunActions({ run, changed, prominent = false }: { run: Run; changed: () => void; prominent?: boolean }) {
  if (!useMay("operator")) return null;
  const move = (verb: Parameters<typeof api.moveRun>[1], said: string) => async () => {
    await api.moveRun(run.name, verb);
    done(`${run.name} ${said}.`);
    changed();
  };
  const kind = prominent ? "primary" : "plain";
  const active = run.state === "running" || run.state === "paused" || run.state === "queued";
  return (
    <div class="actions">
      {run.state === "running" && <Action act={move("pause", "pauses")} label={`Pause ${run.name}`}>Pause</Action>}
      {run.state === "paused" && <Action kind={kind} act={move("resume", "goes on")} label={`Resume ${run.name}`}>Resume</Action>}
      {(!active || run.state === "queued") && <Action kind={kind} act={move("start", "starts")} label={`Start ${run.name}`}>Start</Action>}
      {!active && <Action act={move("queue", "waits for a trainer")} label={`Queue ${run.name}`}>Queue</Action>}
      {active && <Action act={move("stop", "stops")} label={`Stop ${run.name}`}>Stop</Action>}
    </div>
  );
}
