import { useState } from "preact/hooks";

/** A line to copy, such as a command. */
export function Copy({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      setTimeout(() => setCopied(false), 2_000);
    } catch {
      setCopied(false); // no clipboard without HTTPS: the text can be selected
    }
  };
  return (
    <div class="copy">
      <code tabIndex={0} aria-label={label}>
        {text}
      </code>
      <button type="button" class="plain" onClick={() => void copy()}>
        {copied ? "Copied" : "Copy"}
      </button>
    </div>
  );
}
