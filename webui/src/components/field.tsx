import { useEffect, useState } from "preact/hooks";
import { written } from "../format";
import { same } from "../patch";
import { asText, rangeOf, read, type Field } from "../schema";
import type { Json } from "../types";
import { AppliesTag } from "./changes";
import { Prose } from "./prose";

export interface FieldRowProps {
  field: Field;
  value: Json | undefined;
  edited: boolean;
  disabled: boolean;
  problem: string | undefined;
  set: (value: Json) => void;
  /** Why what is written there is no value; null when it is one. */
  understand: (why: string | null) => void;
}

/** One value of a configuration: its name, what it means, and how to change it. */
export function FieldRow(props: FieldRowProps) {
  const { field, value, edited, disabled, problem, set } = props;
  const id = `field-${field.path.join("-")}`;
  const range = rangeOf(field);
  const hint = [range, field.default === undefined ? "" : `default ${written(field.default)}`].filter(Boolean).join(", ");
  const common = { id, disabled, "aria-describedby": `${id}-about`, "aria-invalid": problem !== undefined };
  return (
    <div class={`field${edited ? " edited" : ""}`}>
      <div class="label">
        <label for={id}>{field.title}</label> <AppliesTag applies={field.applies} />
      </div>
      <div class="input">
        {field.input === "switch" ? (
          <input {...common} type="checkbox" role="switch" checked={value === true} onChange={(event) => set(event.currentTarget.checked)} />
        ) : field.input === "choice" ? (
          <select {...common} value={asText(field, value)} onChange={(event) => set(JSON.parse(event.currentTarget.value) as Json)}>
            {field.choices.map((choice) => (
              <option key={asText(field, choice)} value={asText(field, choice)}>
                {written(choice)}
              </option>
            ))}
          </select>
        ) : (
          <Written {...props} common={common} />
        )}
        {field.unit && <span class="unit">{field.unit}</span>}
      </div>
      <p class="note" id={`${id}-about`}>
        {problem && <span class="wrong">{problem} </span>}
        <Prose text={field.description} /> {hint && <span class="range">({hint})</span>}
      </p>
    </div>
  );
}

/** A value that is written; what is half written stays as it is. */
function Written({ field, value, set, understand, common }: FieldRowProps & { common: Record<string, unknown> }) {
  const [text, setText] = useState(asText(field, value));
  useEffect(() => {
    try {
      if (same(read(field, text), value)) return;
    } catch {
      // not a value yet: the newer one from outside wins
    }
    setText(asText(field, value));
  }, [value]);
  const input = (next: string) => {
    setText(next);
    try {
      const meant = read(field, next);
      understand(null);
      set(meant);
    } catch (error) {
      understand(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <input
      {...common}
      type="text"
      inputMode={field.input === "number" ? "decimal" : "text"}
      spellcheck={false}
      autocomplete="off"
      value={text}
      onInput={(event) => input(event.currentTarget.value)}
    />
  );
}
