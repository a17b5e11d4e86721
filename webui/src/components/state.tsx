const TONES: Record<string, string> = {
  running: "good",
  driving: "good",
  training: "good",
  learning: "good",
  updating: "good",
  connected: "good",
  queued: "waiting",
  paused: "waiting",
  starting: "waiting",
  warming: "waiting",
  waiting: "waiting",
  problem: "bad",
  diverged: "bad",
  recovered: "good",
  failed: "bad",
  crashed: "bad",
};

/** The state of a run or a node: a word, and a dot that repeats it in colour. */
export function State({ state, hint }: { state: string; hint?: string | undefined }) {
  return (
    <span class={`state ${TONES[state] ?? "idle"}`} title={hint}>
      {state || "connected"}
    </span>
  );
}
