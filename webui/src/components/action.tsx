import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import { failed } from "../notices";

export interface ActionProps {
  children: ComponentChildren;
  act: () => Promise<unknown> | undefined;
  kind?: "primary" | "danger" | "plain" | "quiet";
  /** A question to answer with yes before it happens. */
  ask?: string;
  disabled?: boolean;
  title?: string;
  label?: string;
}

/** A button for something that takes time and may fail: busy meanwhile, and the failure is told in the relay's words. */
export function Action({ children, act, kind = "plain", ask, disabled = false, title, label }: ActionProps) {
  const [busy, setBusy] = useState(false);
  const dialog = useRef<HTMLDialogElement>(null);

  const run = async () => {
    setBusy(true);
    try {
      await act();
    } catch (error) {
      failed(error);
    } finally {
      setBusy(false);
    }
  };

  return (
    <>
      <button
        type="button"
        class={kind}
        disabled={disabled || busy}
        aria-busy={busy}
        aria-label={label}
        title={title}
        onClick={() => (ask === undefined ? void run() : dialog.current?.showModal())}
      >
        {children}
      </button>
      {ask !== undefined && (
        <dialog ref={dialog} aria-label="Are you sure?" onClose={(event) => event.currentTarget.returnValue === "yes" && void run()}>
          <form method="dialog">
            <p>{ask}</p>
            <div class="actions end">
              <button type="submit" value="no" class="plain" onClick={() => dialog.current && (dialog.current.returnValue = "no")}>
                Cancel
              </button>
              <button type="submit" value="yes" class={kind === "danger" ? "danger" : "primary"}>
                {children}
              </button>
            </div>
          </form>
        </dialog>
      )}
    </>
  );
}
