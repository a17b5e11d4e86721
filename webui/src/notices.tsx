/** Short words after something was done or has failed, read aloud by screen readers. */

import { useEffect, useState } from "preact/hooks";

interface Notice {
  id: number;
  kind: "done" | "failed";
  text: string;
}

const SHOWN_MS = { done: 4_000, failed: 12_000 };

let count = 0;
let notices: Notice[] = [];
let tell: (now: Notice[]) => void = () => undefined;

function say(kind: Notice["kind"], text: string): void {
  const notice = { id: ++count, kind, text };
  notices = [...notices.slice(-3), notice];
  tell(notices);
  setTimeout(() => dismiss(notice.id), SHOWN_MS[kind]);
}

function dismiss(id: number): void {
  notices = notices.filter((notice) => notice.id !== id);
  tell(notices);
}

export const done = (text: string): void => say("done", text);
export const failed = (error: unknown): void => say("failed", error instanceof Error ? error.message : String(error));

export function Notices() {
  const [shown, setShown] = useState(notices);
  useEffect(() => {
    tell = setShown;
    return () => {
      tell = () => undefined;
    };
  }, []);
  return (
    <div class="notices" role="status" aria-live="polite">
      {shown.map((notice) => (
        <p key={notice.id} class={notice.kind}>
          {notice.text}
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => dismiss(notice.id)}>
            ×
          </button>
        </p>
      ))}
    </div>
  );
}
