import { useState } from "preact/hooks";
import * as api from "../api";
import { duration } from "../format";
import { useLive, useLoad, useTick } from "../loading";
import { failed } from "../notices";
import type { NewInvite } from "../types";
import { Action } from "./action";
import { Copy } from "./copy";
import { Shown } from "./shown";

const LASTS: [number, string][] = [
  [3600, "an hour"],
  [86_400, "a day"],
  [604_800, "a week"],
];

/** Makes the line that a new machine needs, and lists those that are open. */
export function Invites() {
  const invites = useLoad(api.invites, "invites");
  useLive(["node"], null, { fresh: invites.reload, event: invites.reload });
  const [role, setRole] = useState("worker");
  const [name, setName] = useState("");
  const [lasts, setLasts] = useState(3600);
  const [made, setMade] = useState<NewInvite | null>(null);
  const now = useTick(10);

  const make = async (event: Event) => {
    event.preventDefault();
    try {
      setMade(await api.newInvite(role, name.trim() || null, lasts));
      invites.reload();
    } catch (error) {
      failed(error);
    }
  };

  return (
    <section class="card" aria-labelledby="invites-title">
      <h2 id="invites-title">Invite a machine</h2>
      <form class="row" onSubmit={(event) => void make(event)}>
        <label>
          Role
          <select value={role} onChange={(event) => setRole(event.currentTarget.value)}>
            <option value="worker">worker: drives</option>
            <option value="trainer">trainer: learns</option>
          </select>
        </label>
        <label>
          Name
          <input type="text" placeholder="its own" value={name} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <label>
          Lasts
          <select value={lasts} onChange={(event) => setLasts(Number(event.currentTarget.value))}>
            {LASTS.map(([seconds, words]) => (
              <option key={seconds} value={seconds}>
                {words}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" class="primary">
          Invite
        </button>
      </form>
      {made !== null && (
        <div class="made" role="status">
          <p>Paste this line on the new machine, once, within {duration(made.expires - now)}. It is not shown again.</p>
          <Copy text={made.command} label="Command that joins" />
        </div>
      )}
      <Shown of={invites}>
        {(items) =>
          items.length === 0 ? (
            <p class="note">No invites.</p>
          ) : (
            <ul class="lines">
              {items.map((invite) => {
                const open = invite.used_by === null && invite.expires > now;
                return (
                  <li key={invite.id}>
                    <span>
                      <b>{invite.name ?? "any name"}</b> <span class="tag">{invite.role}</span>
                    </span>
                    <span class="note">{invite.used_by !== null ? `used by ${invite.used_by}` : open ? `for ${duration(invite.expires - now)} more` : "expired"}</span>
                    <Action
                      kind="quiet"
                      label={`${open ? "Withdraw" : "Remove"} the invite of ${invite.name ?? `a ${invite.role}`}`}
                      act={async () => {
                        await api.deleteInvite(invite.id);
                        if (made?.id === invite.id) setMade(null);
                        invites.reload();
                      }}
                    >
                      {open ? "Withdraw" : "Remove"}
                    </Action>
                  </li>
                );
              })}
            </ul>
          )
        }
      </Shown>
    </section>
  );
}
