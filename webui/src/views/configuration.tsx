/** What the run was told: a form, the raw document, what an edit will do before it is done, and the history. */

import type { RefObject } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import * as api from "../api";
import { Action } from "../components/action";
import { Changes } from "../components/changes";
import { Dialog } from "../components/dialog";
import { FieldRow } from "../components/field";
import { Shown } from "../components/shown";
import { ago } from "../format";
import { useLoad, useTick } from "../loading";
import { done } from "../notices";
import { changed, difference, isObject, same, valueAt, withValue } from "../patch";
import { groupsOf } from "../schema";
import { useMay } from "../session";
import type { Change, Configuration, Json, JsonObject, Revision } from "../types";

interface Shared {
  run: string;
  current: Configuration;
  mayEdit: boolean;
  reload: () => void;
}

export function ConfigurationView({ run, newest, changed: tell }: { run: string; newest: number; changed: () => void }) {
  const schema = useLoad(api.schema, "schema");
  const current = useLoad(() => api.configuration(run), run);
  const history = useLoad(() => api.revisions(run), run);
  const [mode, setMode] = useState<"form" | "raw" | "history">("form");
  const mayEdit = useMay("operator");
  const reload = () => {
    current.reload();
    history.reload();
    tell();
  };
  useEffect(() => {
    if (current.data && newest > current.data.revision) {
      current.reload();
      history.reload();
    }
  }, [newest]);

  return (
    <>
      <div class="chartbar">
        <div class="segments" role="group" aria-label="Shown as">
          {(["form", "raw", "history"] as const).map((name) => (
            <button key={name} type="button" aria-pressed={mode === name} onClick={() => setMode(name)}>
              {{ form: "Form", raw: "Document", history: "History" }[name]}
            </button>
          ))}
        </div>
        {current.data && <span class="note">Revision {current.data.revision}{current.data.author ? ` by ${current.data.author}` : ""}</span>}
      </div>
      <Shown of={current}>
        {(loaded) => {
          const shared = { run, current: loaded, mayEdit, reload };
          if (mode === "history") return <Shown of={history}>{(items) => <History {...shared} items={items} />}</Shown>;
          return <Shown of={schema}>{(known) => <Editor {...shared} schema={known} raw={mode === "raw"} />}</Shown>;
        }}
      </Shown>
    </>
  );
}

/** The draft lives here, so that form and document show the same one. */
function Editor({ run, current, mayEdit, reload, schema, raw }: Shared & { schema: JsonObject; raw: boolean }) {
  const [base, setBase] = useState(current);
  const [draft, setDraft] = useState<JsonObject>(current.config);
  const [unreadable, setUnreadable] = useState<Record<string, string>>({});
  const [refused, setRefused] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState("");
  const [refusals, setRefusals] = useState(0);
  const form = useRef<HTMLDivElement>(null);
  const [preview, setPreview] = useState<Change[] | null>(null);
  const patch = useMemo(() => difference(base.config, draft), [base, draft]);
  const edits = changed(base.config, draft).length;
  const dirty = edits > 0;

  useEffect(() => {
    if (!dirty && current.revision !== base.revision) {
      setBase(current);
      setDraft(current.config);
    }
  }, [current, dirty]);
  useEffect(() => {
    if (refusals > 0) lookAtRefused(form.current);
  }, [refusals]);

  const reset = (to: Configuration) => {
    setBase(to);
    setDraft(to.config);
    setRefused({});
    setUnreadable({});
    setProblem("");
    setPreview(null);
  };
  const set = (path: string[], value: Json) => {
    setDraft((old) => withValue(old, path, value));
    setRefused(({ [path.join(".")]: _gone, ...rest }) => rest);
  };
  const understand = (path: string[], why: string | null) =>
    setUnreadable(({ [path.join(".")]: _old, ...rest }) => (why === null ? rest : { ...rest, [path.join(".")]: why }));

  const send = async (dryRun: boolean) => {
    setProblem("");
    try {
      const answer = await api.patchConfiguration(run, base.revision, patch, dryRun);
      setRefused({});
      if (dryRun) {
        setPreview(answer.changes);
        return;
      }
      done(`Revision ${answer.revision} is in force.`);
      reset({ ...base, revision: answer.revision, config: answer.config });
      reload();
    } catch (error) {
      setPreview(null);
      setProblem(error instanceof Error ? error.message : String(error));
      if (error instanceof api.Problem) setRefused(Object.fromEntries(error.errors.map((one) => [one.path, one.message])));
      setRefusals((count) => count + 1);
    }
  };

  const behind = current.revision > base.revision;
  const unread = Object.keys(unreadable).map((path) => path || "the document");
  const blocked = !dirty || unread.length > 0;
  return (
    <>
      {raw ? (
        <RawDocument draft={draft} set={setDraft} understand={(why) => understand([], why)} mayEdit={mayEdit} unreadable={unreadable[""]} />
      ) : (
        <Form within={form} schema={schema} base={base.config} draft={draft} mayEdit={mayEdit} set={set} understand={understand} problems={{ ...refused, ...unreadable }} />
      )}
      {mayEdit && (
        <div class="savebar" role="region" aria-label="Changes">
          {problem && (
            <p class="problem" role="alert">
              {problem}
            </p>
          )}
          {behind && dirty && (
            <p class="problem" role="alert">
              Meanwhile revision {current.revision} was made{current.author ? ` by ${current.author}` : ""}.{" "}
              <button
                type="button"
                class="plain"
                onClick={() => {
                  setDraft(merged(current.config, patch));
                  setBase(current);
                  setProblem("");
                }}
              >
                Put my changes on top of it
              </button>
            </p>
          )}
          <span>{unread.length > 0 ? `Cannot be read yet: ${unread.join(", ")}` : dirty ? `${edits} ${edits === 1 ? "change" : "changes"}, not applied yet` : "No changes"}</span>
          <button type="button" class="plain" disabled={!dirty && !problem} onClick={() => reset(current)}>
            Discard
          </button>
          <Action kind="primary" disabled={blocked} act={() => send(true)}>
            Review…
          </Action>
        </div>
      )}
      {preview !== null && (
        <Dialog title="What this will do" close={() => setPreview(null)}>
          <Effect changes={preview} />
          <Changes changes={preview} />
          <div class="actions end">
            <button type="button" class="plain" onClick={() => setPreview(null)}>
              Not yet
            </button>
            <Action kind="primary" act={() => send(false)}>
              Apply
            </Action>
          </div>
        </Dialog>
      )}
    </>
  );
}

/** Bring the first field that was refused to where it is seen, which may be far away or folded up. */
function lookAtRefused(form: HTMLElement | null): void {
  const field = form?.querySelector<HTMLElement>('[aria-invalid="true"]');
  if (!field) return;
  field.closest("details")?.setAttribute("open", "");
  field.scrollIntoView({ block: "center" });
  field.focus({ preventScroll: true });
}

function merged(config: JsonObject, patch: JsonObject): JsonObject {
  return Object.entries(patch).reduce<JsonObject>((all, [key, value]) => {
    if (value === null) {
      const { [key]: _gone, ...rest } = all;
      return rest;
    }
    const old = all[key];
    return { ...all, [key]: isObject(value) ? merged(isObject(old) ? old : {}, value) : value };
  }, config);
}

function Effect({ changes }: { changes: Change[] }) {
  const worst = (["new-run", "restart", "live"] as const).find((kind) => changes.some((change) => change.applies === kind));
  const sentence = {
    live: "Everything applies while the run goes on: nothing restarts, and nothing that was learned is lost.",
    restart: "The engines restart from their last checkpoint, which takes some seconds; what was learned stays.",
    "new-run": "This does not fit what was learned so far: it needs a run of its own. Copy the run, and change it there.",
  };
  return <p class="lead">{worst === undefined ? "Nothing changes." : sentence[worst]}</p>;
}

interface FormProps {
  within: RefObject<HTMLDivElement | null>;
  schema: JsonObject;
  base: JsonObject;
  draft: JsonObject;
  mayEdit: boolean;
  set: (path: string[], value: Json) => void;
  understand: (path: string[], why: string | null) => void;
  problems: Record<string, string>;
}

function Form({ within, schema, base, draft, mayEdit, set, understand, problems }: FormProps) {
  const groups = useMemo(() => groupsOf(schema), [schema]);
  return (
    <div class="form" ref={within}>
      {groups.map((group) => (
        <details class="card" key={group.title} open>
          <summary>
            <h2>{group.title}</h2>
          </summary>
          {group.fields.map((field) => {
            const path = field.path.join(".");
            const value = valueAt(draft, field.path);
            return (
              <FieldRow
                key={path}
                field={field}
                value={value === undefined ? field.default : value}
                edited={!same(value, valueAt(base, field.path))}
                disabled={!mayEdit}
                problem={problems[path]}
                set={(next) => set(field.path, next)}
                understand={(why) => understand(field.path, why)}
              />
            );
          })}
        </details>
      ))}
    </div>
  );
}

interface RawProps {
  draft: JsonObject;
  set: (draft: JsonObject) => void;
  understand: (why: string | null) => void;
  mayEdit: boolean;
  unreadable: string | undefined;
}

function RawDocument({ draft, set, understand, mayEdit, unreadable }: RawProps) {
  const [text, setText] = useState(() => JSON.stringify(draft, null, 2));
  useEffect(() => {
    try {
      if (!same(JSON.parse(text), draft)) setText(JSON.stringify(draft, null, 2));
    } catch {
      // being written
    }
  }, [draft]);
  const input = (next: string) => {
    setText(next);
    try {
      const value: unknown = JSON.parse(next);
      if (!isObject(value)) throw new Error("expected an object in braces");
      understand(null);
      set(value);
    } catch (error) {
      understand(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <label class="document">
      The whole document as JSON
      <textarea
        rows={Math.min(40, text.split("\n").length + 1)}
        spellcheck={false}
        readOnly={!mayEdit}
        value={text}
        aria-invalid={unreadable !== undefined}
        onInput={(event) => input(event.currentTarget.value)}
      />
      {unreadable && <span class="wrong">{unreadable}</span>}
    </label>
  );
}

function History({ run, current, mayEdit, reload, items }: Shared & { items: Revision[] }) {
  const [chosen, setChosen] = useState<{ to: number; changes: Change[] } | null>(null);
  const now = useTick(20);
  const ordered = [...items].sort((a, b) => b.revision - a.revision);
  const look = async (to: number) => {
    const old = await api.revision(run, to);
    const known = new Map(items.flatMap((item) => item.changes).map((change) => [change.path, change.applies]));
    const changes = changed(current.config, old.config).map((change) => ({
      path: change.path,
      before: change.before ?? null,
      after: change.after ?? null,
      applies: known.get(change.path) ?? ("live" as const),
    }));
    setChosen({ to, changes });
  };
  const rollBack = async (to: number) => {
    const answer = await api.rollBack(run, to, current.revision);
    done(`Revision ${answer.revision} is like revision ${to}.`);
    setChosen(null);
    reload();
  };
  return (
    <ol class="history">
      {ordered.map((item) => (
        <li class="card" key={item.revision}>
          <div class="cardhead">
            <h2>Revision {item.revision}</h2>
            {item.revision === current.revision && <span class="tag accent">in force</span>}
            <p class="note">
              {item.author}, {ago(item.time, now)}
            </p>
            {mayEdit && item.revision !== current.revision && (
              <Action act={() => look(item.revision)} label={`Go back to revision ${item.revision}`}>
                Go back to this…
              </Action>
            )}
          </div>
          {item.changes.length > 0 ? <Changes changes={item.changes} /> : <p class="note">As it was made.</p>}
        </li>
      ))}
      {chosen !== null && (
        <Dialog title={`Go back to revision ${chosen.to}`} close={() => setChosen(null)}>
          <Effect changes={chosen.changes} />
          <Changes changes={chosen.changes} />
          <div class="actions end">
            <button type="button" class="plain" onClick={() => setChosen(null)}>
              Not now
            </button>
            <Action kind="primary" disabled={chosen.changes.length === 0} act={() => rollBack(chosen.to)}>
              Go back
            </Action>
          </div>
        </Dialog>
      )}
    </ol>
  );
}
