import * as api from "../api";
import { Action } from "../components/action";
import { Shown } from "../components/shown";
import { bytes, lap, measured, moment, whole } from "../format";
import { useLive, useLoad } from "../loading";
import { useMay } from "../session";
import type { Weights } from "../types";

/** The versions of the policy, with how they did. */
export function WeightsView({ run }: { run: string }) {
  const versions = useLoad(() => api.weights(run), run);
  useLive(["weights"], run, { fresh: versions.reload, event: versions.reload });
  return (
    <Shown of={versions}>
      {(items) => (items.length === 0 ? <p class="empty">The first version comes with the first updates.</p> : <Table run={run} items={items} changed={versions.reload} />)}
    </Shown>
  );
}

function Table({ run, items, changed }: { run: string; items: Weights[]; changed: () => void }) {
  const operator = useMay("operator");
  const best = bestOf(items);
  const newest = Math.max(...items.map((item) => item.version));
  return (
    <>
      <div class="actions">
        <a class="button primary" href={api.weightsAddress(run, "latest")} download>
          Download the newest
        </a>
        {best !== null && (
          <a class="button" href={api.weightsAddress(run, "best")} download>
            Download the best
          </a>
        )}
        <p class="note">A file of tensors and a manifest (safetensors): loading it runs no code from it.</p>
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label="Versions">
        <table>
          <thead>
            <tr>
              <th class="number">Version</th>
              <th class="number">Updates</th>
              <th class="number">Evaluation reward</th>
              <th class="number">Median lap</th>
              <th class="number">Laps finished</th>
              <th class="number">Size</th>
              <th>Received</th>
              <th>
                <span class="hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {items.map((item) => (
              <tr key={item.version}>
                <td class="number">
                  {item.version === best && <span class="tag accent">best</span>} {item.version === newest && <span class="tag">newest</span>} {item.pinned && <span class="tag">pinned</span>}{" "}
                  {whole(item.version)}
                </td>
                <td class="number">{whole(item.update)}</td>
                <td class="number">{measured(item.evaluation?.mean_return)}</td>
                <td class="number">{lap(item.evaluation?.median_lap_s)}</td>
                <td class="number">{item.evaluation ? `${item.evaluation.finished} of ${item.evaluation.episodes}` : "–"}</td>
                <td class="number">{bytes(item.size_bytes)}</td>
                <td>{moment(item.created)}</td>
                <td class="end">
                  <a href={api.weightsAddress(run, item.version)} download aria-label={`Download version ${item.version}`}>
                    Download
                  </a>
                  {operator && (
                    <Action
                      kind="quiet"
                      label={`${item.pinned ? "Unpin" : "Pin"} version ${item.version}`}
                      title={item.pinned ? "May be removed when newer versions need its place" : "Keep it for good"}
                      act={async () => {
                        await api.pinWeights(run, item.version, !item.pinned);
                        changed();
                      }}
                    >
                      {item.pinned ? "Unpin" : "Pin"}
                    </Action>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

/** As the relay ranks them: the share of laps finished, then the median lap, then the mean reward; the newest of equals. */
function bestOf(items: Weights[]): number | null {
  const rank = ({ evaluation, version }: Weights): number[] => [
    (evaluation?.finished ?? 0) / (evaluation?.episodes || 1),
    -(evaluation?.median_lap_s ?? Number.POSITIVE_INFINITY),
    evaluation?.mean_return ?? Number.NEGATIVE_INFINITY,
    version,
  ];
  const better = (a: number[], b: number[]): boolean => {
    const at = a.findIndex((value, index) => value !== b[index]);
    return at >= 0 && (a[at] ?? 0) > (b[at] ?? 0);
  };
  const evaluated = items.filter((item) => item.evaluation !== null);
  return evaluated.reduce<Weights | null>((most, item) => (most === null || better(rank(item), rank(most)) ? item : most), null)?.version ?? null;
}
