/** Hooks between the API and the views. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { Live, type Listener, type LiveEvent } from "./live";

export interface Loaded<T> {
  data: T | undefined;
  /** Why the newest attempt brought nothing; what was there before stays. */
  error: Error | null;
  /** Ask again; many calls in a short time become one request now and one after it. */
  reload: () => void;
}

const PAUSE_MS = 500;

/** What ``load`` brings; loaded at once, again when ``key`` changes, and on `reload`.  One request at a time. */
export function useLoad<T>(load: () => Promise<T>, key: string): Loaded<T> {
  const [state, setState] = useState<{ key: string; data: T | undefined; error: Error | null }>({ key, data: undefined, error: null });
  const newest = useRef({ load, key });
  newest.current = { load, key };
  const work = useRef({ running: false, again: false });

  const reload = useCallback(async (): Promise<void> => {
    const mine = work.current;
    if (mine.running) {
      mine.again = true;
      return;
    }
    mine.running = true;
    const asked = newest.current.key;
    try {
      const data = await newest.current.load();
      if (asked === newest.current.key) setState({ key: asked, data, error: null });
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      if (asked === newest.current.key) setState((old) => ({ key: asked, data: old.key === asked ? old.data : undefined, error: reason }));
    }
    const changed = asked !== newest.current.key;
    if (!changed) await new Promise((done) => setTimeout(done, PAUSE_MS));
    mine.running = false;
    if (mine.again || changed) {
      mine.again = false;
      void reload();
    }
  }, []);

  useEffect(() => void reload(), [key]);
  const current = state.key === key;
  return { data: current ? state.data : undefined, error: current ? state.error : null, reload: () => void reload() };
}

/** Listen to the live stream while the view is shown.  ``run`` null: of all runs. */
export function useLive(topics: string[], run: string | null, listener: Omit<Listener, "event"> & { event?: (event: LiveEvent) => void }): void {
  const newest = useRef(listener);
  newest.current = listener;
  const key = topics.join();
  useEffect(() => {
    const live = new Live(key.split(","), run, {
      event: (event) => newest.current.event?.(event),
      fresh: () => newest.current.fresh(),
      connected: (yes) => newest.current.connected?.(yes),
      refused: (code, reason) => newest.current.refused?.(code, reason),
    });
    return () => live.close();
  }, [key, run]);
}

/** A number that changes every ``seconds``, for what tells how long ago something was. */
export function useTick(seconds: number): number {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now() / 1000), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
  return now;
}
