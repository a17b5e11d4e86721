/** The frame around the views: who is signed in, where one can go, whether the relay can be heard. */

import { useEffect, useState } from "preact/hooks";
import * as api from "./api";
import { useLive } from "./loading";
import { done, failed, Notices } from "./notices";
import { go, to, useRoute, type Route } from "./route";
import { SessionContext } from "./session";
import { chooseTheme, theme, whenThemeChanges } from "./theme";
import type { Session } from "./types";
import { Fleet } from "./views/fleet";
import { RunView } from "./views/run";
import { Runs } from "./views/runs";
import { SignIn } from "./views/signin";
import { Tracks } from "./views/tracks";

type Who = Session | "unknown" | null;

export function App({ code }: { code: string | null }) {
  const [who, setWho] = useState<Who>("unknown");
  const [reason, setReason] = useState("");

  useEffect(() => {
    api.whenSignedOut(() => {
      setReason("Your session has ended.");
      setWho(null);
    });
    void recognise(code).then(([session, why]) => {
      setReason(why);
      setWho(session);
    });
  }, []);

  if (who === "unknown") return <p class="note loading">Loading…</p>;
  if (who === null)
    return (
      <>
        <SignIn reason={reason} signedIn={setWho} />
        <Notices />
      </>
    );
  return (
    <SessionContext.Provider value={who}>
      <Frame
        session={who}
        signedOut={(why) => {
          setReason(why);
          setWho(null);
        }}
      />
      <Notices />
    </SessionContext.Provider>
  );
}

/** The session there is, or the one that a one-time code opens; with what to say if there is none. */
async function recognise(code: string | null): Promise<[Session | null, string]> {
  let why = "";
  if (code !== null) {
    try {
      return [await api.login({ code }), ""];
    } catch (error) {
      why = error instanceof Error ? error.message : "";
    }
  }
  for (;;) {
    try {
      return [await api.session(), ""];
    } catch (error) {
      if (!(error instanceof api.Problem) || error.status !== 0) return [null, why];
      await new Promise((later) => setTimeout(later, 1_000)); // the relay is away: nobody can sign in either
    }
  }
}

function Frame({ session, signedOut }: { session: Session; signedOut: (why: string) => void }) {
  const route = useRoute();
  const [connected, setConnected] = useState(true);
  useLive(["problem"], null, {
    fresh: () => undefined,
    connected: setConnected,
    refused: (_code, why) => signedOut(why ? `You were signed out: ${why}.` : "You were signed out."),
    event: ({ topic, data }) => {
      if (topic === "problem" && data["state"] === "recovered") done(String(data["detail"]));
      else if (topic === "problem") failed(String(data["detail"] ?? "something went wrong"));
    },
  });
  useEffect(() => {
    document.title = [...titleOf(route), "tmrld"].join(" · ");
    document.getElementById("main")?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [route.join("/")]);

  const leave = async () => {
    try {
      await api.logout();
      signedOut("");
    } catch (error) {
      failed(error);
    }
  };

  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById("main")?.focus();
        }}
      >
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href={to()}>
          <img src="/favicon.svg" alt="" width="22" height="22" /> tmrld
        </a>
        <nav aria-label="Pages">
          <a href={to("runs")} aria-current={route[0] !== "fleet" && route[0] !== "tracks" ? "page" : undefined}>
            Runs
          </a>
          <a href={to("tracks")} aria-current={route[0] === "tracks" ? "page" : undefined}>
            Tracks
          </a>
          <a href={to("fleet")} aria-current={route[0] === "fleet" ? "page" : undefined}>
            Fleet
          </a>
        </nav>
        <span class="who">
          {session.name} <small>{session.scope}</small>
        </span>
        <ThemeButton />
        <button type="button" class="quiet" onClick={() => void leave()}>
          Sign out
        </button>
      </header>
      {!connected && (
        <p class="banner" role="status">
          The relay does not answer. This page goes on by itself when it is back; nothing is lost.
        </p>
      )}
      <main id="main" tabIndex={-1}>
        <View route={route} />
      </main>
    </>
  );
}

function View({ route }: { route: Route }) {
  const [page, name, tab] = route;
  if (page === "fleet") return <Fleet />;
  if (page === "tracks") return <Tracks />;
  if (page === "runs" && name !== undefined) return <RunView key={name} name={name} tab={tab ?? "watch"} />;
  if (page === undefined || page === "runs") return <Runs />;
  return (
    <div class="empty">
      <h1>There is no such page</h1>
      <p>The address is mistyped, or it is of another version of this page.</p>
      <button type="button" class="primary" onClick={() => go("runs")}>
        Show the runs
      </button>
    </div>
  );
}

const titleOf = (route: Route): string[] => (route[0] === "fleet" ? ["Fleet"] : route[0] === "tracks" ? ["Tracks"] : route[1] ? [...(route[2] ? [route[2]] : []), route[1]] : ["Runs"]);

function ThemeButton() {
  const [now, setNow] = useState(theme());
  useEffect(() => whenThemeChanges(() => setNow(theme())), []);
  const other = now === "dark" ? "light" : "dark";
  return (
    <button type="button" class="quiet icon" onClick={() => chooseTheme(other)} aria-label={`Use ${other} colours`} title={`Use ${other} colours`}>
      <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
        <circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.5" />
        <path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor" />
      </svg>
    </button>
  );
}
