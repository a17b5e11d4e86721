import { useState } from "preact/hooks";
import * as api from "../api";
import { Dialog } from "../components/dialog";
import { Shown } from "../components/shown";
import { useLoad } from "../loading";
import { isObject } from "../patch";
import { go } from "../route";
import type { JsonObject, Preset } from "../types";

/** Makes a run from a preset, or a copy of a run. */
export function NewRun({ close, changed, copyOf }: { close: () => void; changed: () => void; copyOf?: string }) {
  const presets = useLoad(() => (copyOf === undefined ? api.presets() : Promise.resolve([])), "presets");
  return (
    <Dialog title={copyOf === undefined ? "New run" : `Copy ${copyOf}`} close={close}>
      <Shown of={presets}>{(items) => <Form presets={items} close={close} changed={changed} copyOf={copyOf} />}</Shown>
    </Dialog>
  );
}

function Form({ presets, close, changed, copyOf }: { presets: Preset[]; close: () => void; changed: () => void; copyOf: string | undefined }) {
  const [name, setName] = useState(copyOf === undefined ? "" : `${copyOf}-2`);
  const [preset, setPreset] = useState(presets[0]?.name ?? null);
  const [start, setStart] = useState<"now" | "queue" | "no">("now");
  const [text, setText] = useState("");
  const [problem, setProblem] = useState<api.Problem | null>(null);
  const [busy, setBusy] = useState(false);

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      const config = parsed(text);
      const made = copyOf === undefined ? await api.newRun(name.trim(), preset, config, start) : await api.cloneRun(copyOf, name.trim(), config);
      changed();
      close();
      go("runs", made.name);
    } catch (error) {
      setProblem(error instanceof api.Problem ? error : new api.Problem("", 0, String(error)));
    } finally {
      setBusy(false);
    }
  };

  return (
    <form class="stack" onSubmit={(event) => void submit(event)}>
      {problem && (
        <div class="problem" role="alert">
          <p>{problem.message}</p>
          {problem.errors.map((error) => (
            <p key={error.path}>
              <code>{error.path}</code>: {error.message}
            </p>
          ))}
        </div>
      )}
      <label>
        Name
        <input type="text" required maxLength={64} value={name} onInput={(event) => setName(event.currentTarget.value)} autofocus />
      </label>
      {copyOf === undefined && (
        <fieldset>
          <legend>What it starts from</legend>
          {presets.map((known) => (
            <label class="choice" key={known.name}>
              <input type="radio" name="preset" checked={preset === known.name} onChange={() => setPreset(known.name)} />
              <span>
                <b>{known.title}</b>
                <small>{known.description}</small>
              </span>
            </label>
          ))}
        </fieldset>
      )}
      {copyOf === undefined && (
        <label>
          Start
          <select value={start} onChange={(event) => setStart(event.currentTarget.value as typeof start)}>
            <option value="now">at once</option>
            <option value="queue">when a trainer has nothing to do</option>
            <option value="no">not yet</option>
          </select>
        </label>
      )}
      <details>
        <summary>Changes to its configuration</summary>
        <label>
          A JSON object with what is to be different
          <textarea rows={5} spellcheck={false} placeholder={'{"algorithm": {"gamma": 0.99}}'} value={text} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
      </details>
      <div class="actions end">
        <button type="button" class="plain" onClick={close}>
          Cancel
        </button>
        <button type="submit" class="primary" disabled={busy || name.trim() === ""}>
          {copyOf === undefined ? "Make the run" : "Make the copy"}
        </button>
      </div>
    </form>
  );
}

function parsed(text: string): JsonObject {
  if (text.trim() === "") return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new api.Problem("bad_input", 0, `The changes are not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!isObject(value)) throw new api.Problem("bad_input", 0, 'The changes must be a JSON object, such as {"algorithm": {"gamma": 0.99}}.');
  return value;
}
