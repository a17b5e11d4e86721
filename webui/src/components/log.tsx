import { moment } from "../format";
import type { LogLine } from "../types";

/** The newest lines of a log, the newest last. */
export function Log({ lines, label }: { lines: LogLine[]; label: string }) {
  if (lines.length === 0) return <p class="note">Nothing was said yet.</p>;
  return (
    <div class="log" role="log" tabIndex={0} aria-label={label}>
      {lines.map((line, index) => (
        <p key={index} class={line.level.toLowerCase()}>
          <time>{moment(line.time)}</time>
          <span class="source">{line.source}</span>
          <span>{line.text}</span>
        </p>
      ))}
    </div>
  );
}
