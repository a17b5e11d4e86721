/** Light or dark: what the system says, unless the reader chose. */

export type Theme = "light" | "dark";

const KEY = "tmrld.theme";
const listeners = new Set<() => void>();
const dark = window.matchMedia("(prefers-color-scheme: dark)");

export function theme(): Theme {
  const chosen = document.documentElement.dataset["theme"];
  return chosen === "light" || chosen === "dark" ? chosen : dark.matches ? "dark" : "light";
}

export function chooseTheme(chosen: Theme): void {
  document.documentElement.dataset["theme"] = chosen;
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // A browser that stores nothing forgets the choice, and that is what it was told to do.
  }
  tell();
}

export function restoreTheme(): void {
  try {
    const chosen = localStorage.getItem(KEY);
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset["theme"] = chosen;
  } catch {
    // See above.
  }
  dark.addEventListener("change", tell);
}

/** Call back when colours change; returns what ends that. */
export function whenThemeChanges(callback: () => void): () => void {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

function tell(): void {
  for (const listener of listeners) listener();
}

/** The value of a custom property of the style sheet, such as ``--accent``. */
export const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
