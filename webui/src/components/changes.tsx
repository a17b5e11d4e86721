import { written } from "../format";
import type { Applies, Change } from "../types";

export const APPLIES: Record<Applies, { word: string; means: string }> = {
  live: { word: "live", means: "Applies within a second, while the run goes on" },
  restart: { word: "restarts", means: "Restarts the engine from its last checkpoint" },
  "new-run": { word: "new run", means: "Needs a run of its own: copy the run to change it" },
};

export function AppliesTag({ applies }: { applies: Applies }) {
  return (
    <span class={`tag ${applies}`} title={APPLIES[applies].means}>
      {APPLIES[applies].word}
    </span>
  );
}

/** What is different, value by value. */
export function Changes({ changes }: { changes: Change[] }) {
  return (
    <ul class="changes">
      {changes.map((change) => (
        <li key={change.path}>
          <code>{change.path}</code>
          <span>
            <del>{written(change.before)}</del> <span aria-label="becomes">→</span> <ins>{written(change.after)}</ins>
          </span>
          <AppliesTag applies={change.applies} />
        </li>
      ))}
    </ul>
  );
}
