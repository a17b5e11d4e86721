import type { ComponentChildren } from "preact";
import type { Loaded } from "../loading";

/** What was loaded, or why it was not.  What was there stays while the relay is away. */
export function Shown<T>({ of, children }: { of: Loaded<T>; children: (data: T) => ComponentChildren }) {
  if (of.data !== undefined) return <>{children(of.data)}</>;
  if (of.error !== null)
    return (
      <div class="empty">
        <p>{of.error.message}</p>
        <button type="button" class="plain" onClick={of.reload}>
          Try again
        </button>
      </div>
    );
  return <p class="note loading">Loading…</p>;
}
