import * as api from "../api";
import { Log } from "../components/log";
import { Shown } from "../components/shown";
import { useLive, useLoad } from "../loading";

/** What the nodes that work for this run say. */
export function RunLog({ run }: { run: string }) {
  const lines = useLoad(() => api.runLog(run), run);
  useLive(["log"], run, { fresh: lines.reload, event: lines.reload });
  return <Shown of={lines}>{(items) => <Log lines={items} label={`Log of ${run}`} />}</Shown>;
}
