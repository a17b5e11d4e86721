import { useState } from "preact/hooks";
import * as api from "../api";
import { ago } from "../format";
import { useLoad, useTick } from "../loading";
import { done, failed } from "../notices";
import { Action } from "./action";
import { Copy } from "./copy";
import { Shown } from "./shown";

/** Machines have tokens as well: those are revoked with the machine. */
const OF_PEOPLE = ["viewer", "operator", "admin"];

/** Who may use this relay. */
export function Tokens() {
  const tokens = useLoad(api.tokens, "tokens");
  const [name, setName] = useState("");
  const [scope, setScope] = useState("viewer");
  const [made, setMade] = useState<string | null>(null);
  const now = useTick(20);

  const make = async (event: Event) => {
    event.preventDefault();
    try {
      setMade((await api.newToken(name.trim(), scope)).token);
      setName("");
      tokens.reload();
    } catch (error) {
      failed(error);
    }
  };

  return (
    <section class="card" aria-labelledby="tokens-title">
      <h2 id="tokens-title">People and scripts</h2>
      <form class="row" onSubmit={(event) => void make(event)}>
        <label>
          Name
          <input type="text" required value={name} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <label>
          May
          <select value={scope} onChange={(event) => setScope(event.currentTarget.value)}>
            <option value="viewer">look (viewer)</option>
            <option value="operator">steer runs (operator)</option>
            <option value="admin">everything (admin)</option>
          </select>
        </label>
        <button type="submit" class="primary" disabled={name.trim() === ""}>
          New token
        </button>
      </form>
      {made !== null && (
        <div class="made" role="status">
          <p>Keep it safe: it is not shown again.</p>
          <Copy text={made} label="The new token" />
        </div>
      )}
      <Shown of={tokens}>
        {(items) => (
          <ul class="lines">
            {items.filter((token) => OF_PEOPLE.includes(token.scope)).map((token) => (
              <li key={token.name}>
                <span>
                  <b>{token.name}</b> <span class="tag">{token.scope}</span>
                </span>
                <span class="note">{ago(token.created, now)}</span>
                <Action
                  kind="quiet"
                  label={`Revoke the token ${token.name}`}
                  ask={`Revoke the token ${token.name}? Whoever uses it is signed out at once.`}
                  act={async () => {
                    await api.deleteToken(token.name);
                    done(`The token ${token.name} is revoked.`);
                    tokens.reload();
                  }}
                >
                  Revoke
                </Action>
              </li>
            ))}
          </ul>
        )}
      </Shown>
    </section>
  );
}
