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
  refused: "bad",
  recovered: "good",
  failed: "bad",
  crashed: "bad",
};

/** What a node says that something is wrong with, as long as it says nothing else; as the relay's `AILING`. */
export const AILING: unknown[] = ["refused", "diverged", "problem", "failed"];

/** The state of a run or a node: a word, and a dot that repeats it in colour; with a problem, that is said and shown as well. */
export function State({ state, problem = null }: { state: string; problem?: string | null }) {
  return (
    <span class={`state ${problem === null ? (TONES[state] ?? "idle") : "waiting"}`} title={problem ?? undefined}>
      {state || "connected"}
      {problem !== null && ", with a problem"}
    </span>
  );
}
