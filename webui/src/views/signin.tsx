import { useState } from "preact/hooks";
import * as api from "../api";
import type { Session } from "../types";

/** Asks for a token. */
export function SignIn({ reason, signedIn }: { reason: string; signedIn: (session: Session) => void }) {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState(reason);
  const [busy, setBusy] = useState(false);

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      signedIn(await api.login({ token: token.trim() }));
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <main id="main" class="signin">
      <form onSubmit={(event) => void submit(event)}>
        <h1>
          <img src="/favicon.svg" alt="" width="30" height="30" /> tmrld
        </h1>
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        <label>
          Token
          <input
            type="password"
            autocomplete="current-password"
            required
            value={token}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
        </label>
        <button type="submit" class="primary" disabled={busy || token.trim() === ""}>
          Sign in
        </button>
        <p class="note">
          On the relay's machine, <code>tmrld token new</code> makes a token, and <code>tmrld up</code> prints an address that signs in by itself, once.
        </p>
      </form>
    </main>
  );
}
