import * as api from "../api";
import { Action } from "../components/action";
import { go, to } from "../route";
import { useMay } from "../session";

/** What an empty relay says. */
export function FirstVisit({ make, changed }: { make: () => void; changed: () => void }) {
  const operator = useMay("operator");
  const demo = async () => {
    const presets = await api.presets();
    const preset = presets.find((known) => known.name === "demo") ?? presets[0];
    const made = await api.newRun(preset?.name ?? "demo", preset?.name ?? null, {}, "now");
    changed();
    go("runs", made.name);
  };
  return (
    <section class="first">
      <h1>Nothing is learning here yet</h1>
      <p class="lead">
        A <b>run</b> teaches a policy to drive: it holds the configuration, the curves, the laps and every version of what was learned. It needs three parts that
        talk to each other, on one machine or on many.
      </p>
      <ol class="parts">
        <li class="card">
          <h2>A worker drives</h2>
          <p>It runs the game, a robot or the simulator in real time, and sends home what the car saw and did.</p>
        </li>
        <li class="card here">
          <h2>This relay keeps</h2>
          <p>It stores every step before it says so, hands it to the trainer, and shows you this page.</p>
        </li>
        <li class="card">
          <h2>A trainer learns</h2>
          <p>It improves the policy from all that was driven and sends it back to every worker.</p>
        </li>
      </ol>
      {operator ? (
        <div class="actions">
          <Action kind="primary" act={demo}>
            Start the demo run
          </Action>
          <button type="button" class="plain" onClick={make}>
            New run…
          </button>
          <a class="button" href={to("fleet")}>
            Invite a machine
          </a>
        </div>
      ) : (
        <p class="note">You may look, but not start anything: ask for a token with the scope operator.</p>
      )}
      <p class="note">The demo drives a simulated car and needs no game: a first lap takes a minute or two on a laptop. It needs a worker and a trainer, which <code>tmrld up</code> brings along.</p>
    </section>
  );
}
