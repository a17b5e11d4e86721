/** The curves of a run, loaded thinned and extended by what happens live. */

import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "./api";
import { useLive, useLoad } from "./loading";
import { extended, MOST_POINTS } from "./series";
import type { MetricInfo, Series } from "./types";

export interface Curves {
  series: Record<string, Series>;
  info: MetricInfo[];
  loaded: boolean;
  error: Error | null;
}

/** Those of these metrics that the run has. */
export function useCurves(run: string, names: string[]): Curves {
  const loading = useLoad(() => api.metrics(run, names), `${run} ${names.join()}`);
  const [series, setSeries] = useState<Record<string, Series> | null>(null);
  const lineage = useRef(-1); // none was seen yet

  useEffect(() => {
    if (loading.data !== undefined) setSeries(Object.fromEntries(loading.data.series.map((one) => [one.name, one])));
  }, [loading.data]);

  useLive(["metrics"], run, {
    fresh: loading.reload,
    event: ({ time, data }) => {
      const values = data["values"] as Record<string, number | null>;
      const [ours, theirs] = [lineage.current, Number(data["lineage"] ?? 0)];
      lineage.current = Math.max(ours, theirs);
      if (theirs < ours) return; // of weights from before the run resumed from an older checkpoint: superseded
      const resumed = ours >= 0 && theirs > ours;
      if (resumed || Object.keys(values).some((name) => names.includes(name) && series !== null && !(name in series))) loading.reload();
      if (resumed) return;
      const [update, transitions] = [Number(data["update"]), Number(data["transitions"])];
      setSeries((old) => {
        if (old === null) return null;
        const longer = { ...old };
        for (const [name, value] of Object.entries(values)) {
          const known = old[name];
          if (known === undefined) continue;
          longer[name] = extended(known, update, transitions, time, value);
          if (known.updates.length > MOST_POINTS) loading.reload();
        }
        return longer;
      });
    },
  });
  return { series: series ?? {}, info: loading.data?.info ?? [], loaded: series !== null, error: loading.error };
}
