import { useState } from "preact/hooks";
import * as api from "../api";
import { bytes } from "../format";
import { useLive, useLoad } from "../loading";
import { done } from "../notices";
import { useMay } from "../session";
import type { Cleaned, Storage as Stored } from "../types";
import { Action } from "./action";
import { Dialog } from "./dialog";
import { Shown } from "./shown";

const OTHERS: [keyof Stored, string][] = [
  ["database_bytes", "Curves, episodes, nodes"],
  ["shelf_bytes", "Shelf"],
  ["leftovers_bytes", "Leftovers"],
  ["logs_bytes", "Log files"],
  ["spool_bytes", "Worker's unsent samples"],
  ["cache_bytes", "Trainer's copies"],
  ["files_bytes", "Copies of files"],
];

/** What takes room on the relay's disk, and a way to clean up. */
export function Storage() {
  const storage = useLoad(api.storage, "storage");
  const [cleaning, setCleaning] = useState(false);
  const operator = useMay("operator");
  useLive(["checkpoint", "run"], null, { fresh: storage.reload, event: storage.reload });
  return (
    <section class="storage" aria-labelledby="storage-title">
      <div class="title">
        <h2 id="storage-title">Storage</h2>
        {operator && (
          <button type="button" class="plain" onClick={() => setCleaning(true)}>
            Clean up…
          </button>
        )}
      </div>
      <Shown of={storage}>
        {(found) => (
          <>
            <p class="note">
              {bytes(found.used_bytes)} of the {bytes(found.quota_bytes)} that all runs may take together; {bytes(found.free_bytes)} are free on the disk.
            </p>
            <div class="scroll" tabIndex={0} role="region" aria-label="What takes room">
              <table>
                <thead>
                  <tr>
                    <th>Run</th>
                    <th class="number">All</th>
                    <th class="number">Samples</th>
                    <th class="number">Weights</th>
                    <th class="number">Checkpoints</th>
                  </tr>
                </thead>
                <tbody>
                  {found.runs.map((run) => (
                    <tr key={run.run}>
                      <td>{run.run}</td>
                      <td class="number">{bytes(run.total_bytes)}</td>
                      <td class="number">{bytes(run.log_bytes)}</td>
                      <td class="number">{bytes(run.weights_bytes)}</td>
                      <td class="number">{bytes(run.checkpoints_bytes)}</td>
                    </tr>
                  ))}
                  {OTHERS.filter(([key]) => Number(found[key]) > 0).map(([key, name]) => (
                    <tr key={key}>
                      <td>{name}</td>
                      <td class="number">{bytes(Number(found[key]))}</td>
                      <td colSpan={3} />
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </>
        )}
      </Shown>
      {cleaning && <Clean close={() => setCleaning(false)} changed={storage.reload} />}
    </section>
  );
}

type Item = Cleaned["items"][number];

/** What goes, by run and kind, in the order in which it goes. */
function groups(items: Item[]): [Item, ...Item[]][] {
  const found = new Map<string, [Item, ...Item[]]>();
  for (const item of items) {
    const key = `${item.run} ${item.kind}`;
    const group = found.get(key);
    if (group) group.push(item);
    else found.set(key, [item]);
  }
  return [...found.values()];
}

function Clean({ close, changed }: { close: () => void; changed: () => void }) {
  const plan = useLoad(() => api.cleanStorage(true), "plan");
  return (
    <Dialog title="Clean up" close={close}>
      <p class="note">
        What is neither pinned nor needed to resume goes: of weights and checkpoints the newest, the best and the pinned stay, and the samples that these checkpoints need.
      </p>
      <Shown of={plan}>
        {(found) =>
          found.items.length === 0 ? (
            <p class="empty">Everything that is here is pinned or needed.</p>
          ) : (
            <>
              <ul class="lines">
                {groups(found.items).map(([first, ...others]) => (
                  <li key={`${first.run} ${first.kind}`}>
                    <span>
                      <b>{first.run || "relay"}</b> <span class="tag">{first.kind}</span> {first.what}
                      {others.length > 0 && ` and ${others.length} more`}
                    </span>
                    <span class="note">{bytes([first, ...others].reduce((sum, item) => sum + item.size_bytes, 0))}</span>
                  </li>
                ))}
              </ul>
              <div class="actions end">
                <button type="button" class="plain" onClick={close}>
                  Cancel
                </button>
                <Action
                  kind="danger"
                  act={async () => {
                    const cleaned = await api.cleanStorage(false);
                    done(`${bytes(cleaned.freed_bytes)} are free again.`);
                    close();
                    changed();
                  }}
                >
                  {`Free ${bytes(found.freed_bytes)}`}
                </Action>
              </div>
            </>
          )
        }
      </Shown>
    </Dialog>
  );
}
