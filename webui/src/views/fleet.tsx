/** The machines: what they do, commands to their engines, what they say, and how more of them join. */

import { useState } from "preact/hooks";
import * as api from "../api";
import { Action } from "../components/action";
import { Dialog } from "../components/dialog";
import { Doctor } from "../components/doctor";
import { Invites } from "../components/invites";
import { Log } from "../components/log";
import { Shown } from "../components/shown";
import { State } from "../components/state";
import { Storage } from "../components/storage";
import { Tokens } from "../components/tokens";
import { ago, bytes, measured, milliseconds } from "../format";
import { useLive, useLoad, useTick } from "../loading";
import { done, failed } from "../notices";
import { to } from "../route";
import { useMay } from "../session";
import type { Node, Run } from "../types";

export function Fleet() {
  const nodes = useLoad(api.nodes, "nodes");
  const runs = useLoad(api.runs, "runs");
  const [log, setLog] = useState<string | null>(null);
  const admin = useMay("admin");
  useLive(["node", "run"], null, { fresh: nodes.reload, event: nodes.reload });
  return (
    <>
      <div class="title">
        <h1>Fleet</h1>
        <button type="button" class="plain" onClick={() => setLog("relay")}>
          Log of the relay
        </button>
      </div>
      <Shown of={nodes}>
        {(items) =>
          items.length === 0 ? (
            <p class="empty">No machine has joined yet. {admin ? "Invite one below: it joins with one pasted line." : "An admin can invite one."}</p>
          ) : (
            <ul class="nodes">
              {items.map((node) => (
                <NodeCard key={node.name} node={node} runs={runs.data ?? []} changed={nodes.reload} showLog={() => setLog(node.name)} />
              ))}
            </ul>
          )
        }
      </Shown>
      <Storage />
      {admin && (
        <div class="columns">
          <Invites />
          <Tokens />
        </div>
      )}
      {log !== null && <NodeLog node={log} close={() => setLog(null)} />}
    </>
  );
}

function NodeCard({ node, runs, changed, showLog }: { node: Node; runs: Run[]; changed: () => void; showLog: () => void }) {
  const [renaming, setRenaming] = useState(false);
  const [examining, setExamining] = useState(false);
  const [contested, setContested] = useState<Contested | null>(null);
  const operator = useMay("operator");
  const admin = useMay("admin");
  const now = useTick(10);
  const here = node.connected !== false;
  const command = (verb: "start" | "stop" | "restart", said: string) => async () => {
    await api.commandNode(node.name, verb);
    done(`The engine of ${node.name} ${said}.`);
    changed();
  };
  return (
    <li class={`card node${here ? "" : " away"}`}>
      <div class="cardhead">
        <h2>{node.name}</h2>
        <span class="tag">{node.role}</span>
        <State state={here ? node.state : "away"} />
        {node.run && <a href={to("runs", node.run)}>{node.run}</a>}
      </div>
      {node.detail && <p class="note">{node.detail}</p>}
      <dl class="facts">
        <Fact name="Latency">{here ? milliseconds(node.latency_s) : "–"}</Fact>
        <Fact name="Seen">{here ? "now" : ago(node.last_seen, now)}</Fact>
        <Fact name="Address">{node.remote || "–"}</Fact>
        <Fact name="Version">{node.version || "–"}</Fact>
        {numbers(node.values).map(([name, value]) => (
          <Fact key={name} name={name}>
            {value}
          </Fact>
        ))}
      </dl>
      {machine(node.machine) && <p class="note">{machine(node.machine)}</p>}
      <div class="actions">
        {operator && here && (
          <>
            <Action act={command("start", "starts")} label={`Start the engine of ${node.name}`}>Start</Action>
            <Action act={command("restart", "restarts")} label={`Restart the engine of ${node.name}`}>Restart</Action>
            <Action act={command("stop", "stops")} label={`Stop the engine of ${node.name}`}>Stop</Action>
          </>
        )}
        <button type="button" class="plain" onClick={showLog} aria-label={`Log of ${node.name}`}>
          Log
        </button>
        <button type="button" class="plain" onClick={() => setExamining(true)} aria-label={`What the doctor says of ${node.name}`}>
          Doctor
        </button>
        {operator && (
          <label class="inline">
            Works for
            <select
              value={node.assigned ?? ""}
              aria-label={`Run that ${node.name} works for`}
              onChange={(event) => void assign(node, event.currentTarget.value, changed, setContested)}
            >
              <option value="">any run</option>
              {runs.map((run) => (
                <option key={run.name} value={run.name}>
                  {run.name}
                </option>
              ))}
            </select>
          </label>
        )}
        {admin && (
          <span class="actions more">
            <button type="button" class="quiet" onClick={() => setRenaming(true)} aria-label={`Rename ${node.name}`}>
              Rename…
            </button>
            <Action
              kind="danger"
              label={`Revoke ${node.name}`}
              ask={`Revoke ${node.name}? It is cut off at once and needs a new invite to come back. What it has sent stays.`}
              act={async () => {
                await api.revokeNode(node.name);
                done(`${node.name} is cut off.`);
                changed();
              }}
            >
              Revoke
            </Action>
          </span>
        )}
      </div>
      {examining && <Doctor node={node.name} here={here} close={() => setExamining(false)} />}
      {contested && <TakeOver node={node.name} contested={contested} close={() => setContested(null)} changed={changed} />}
      {renaming && <Rename node={node.name} close={() => setRenaming(false)} changed={changed} />}
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

/** A run that another trainer is at work on, and what the relay says of that. */
interface Contested {
  run: string;
  why: string;
}

async function assign(node: Node, run: string, changed: () => void, offer: (contested: Contested) => void): Promise<void> {
  try {
    await api.assignNode(node.name, run === "" ? null : run);
    done(run === "" ? `${node.name} works for any run.` : `${node.name} works for ${run}.`);
  } catch (error) {
    if (node.role === "trainer" && error instanceof api.Problem && error.code === "conflict") offer({ run, why: error.message });
    else failed(error);
  }
  changed();
}

function TakeOver({ node, contested, close, changed }: { node: string; contested: Contested; close: () => void; changed: () => void }) {
  const { run, why } = contested;
  return (
    <Dialog title={`${run} is trained already`} close={close}>
      <div class="stack">
        <p>{why}</p>
        <p class="note">{node} would go on from the newest checkpoint; whoever trains {run} now is left without a run.</p>
        <div class="actions end">
          <button type="button" class="plain" onClick={close}>
            Cancel
          </button>
          <Action
            kind="danger"
            act={async () => {
              await api.assignNode(node, run, true);
              done(`${node} trains ${run} now.`);
              close();
              changed();
            }}
          >
            Take over
          </Action>
        </div>
      </div>
    </Dialog>
  );
}

function Rename({ node, close, changed }: { node: string; close: () => void; changed: () => void }) {
  const [name, setName] = useState(node);
  return (
    <Dialog title={`Rename ${node}`} close={close}>
      <div class="stack">
        <label>
          New name
          <input type="text" value={name} onInput={(event) => setName(event.currentTarget.value)} autofocus />
        </label>
        <div class="actions end">
          <button type="button" class="plain" onClick={close}>
            Cancel
          </button>
          <Action
            kind="primary"
            disabled={name.trim() === "" || name === node}
            act={async () => {
              await api.renameNode(node, name.trim());
              done(`${node} is called ${name.trim()} now.`);
              close();
              changed();
            }}
          >
            Rename
          </Action>
        </div>
      </div>
    </Dialog>
  );
}

function NodeLog({ node, close }: { node: string; close: () => void }) {
  const lines = useLoad(() => api.nodeLog(node), node);
  useLive(["log"], null, { fresh: lines.reload, event: (event) => event.data["node"] === node && lines.reload() });
  return (
    <Dialog title={node === "relay" ? "Log of the relay" : `Log of ${node}`} close={close}>
      <Shown of={lines}>{(items) => <Log lines={items} label={`Log of ${node}`} />}</Shown>
    </Dialog>
  );
}

/** Which of the numbers that a node says of itself tell how busy it is; those of learning have curves. */
const LOAD = /_per_s$|_share$|^backlog|_factor$|_bytes$/;

function numbers(values: Record<string, unknown>): [string, string][] {
  return Object.entries(values)
    .filter((pair): pair is [string, number] => typeof pair[1] === "number" && LOAD.test(pair[0]))
    .map(([name, value]) => [titled(name), name.endsWith("_share") ? `${(value * 100).toFixed(0)} %` : name.endsWith("_bytes") ? bytes(value) : measured(value, 3)]);
}

function titled(name: string): string {
  const words = name.replace(/_per_s$/, "/s").replace(/_(share|bytes)$/, "").replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function machine(facts: Record<string, unknown>): string {
  const words: Record<string, (fact: unknown) => string> = {
    cores: (fact) => `${String(fact)} cores`,
    memory_bytes: (fact) => `${(Number(fact) / 2 ** 30).toFixed(0)} GiB`,
    python: (fact) => `Python ${String(fact)}`,
  };
  return Object.entries(facts)
    .filter(([, fact]) => (typeof fact === "string" && fact !== "") || typeof fact === "number")
    .map(([name, fact]) => (words[name] ?? String)(fact))
    .join(" · ");
}
