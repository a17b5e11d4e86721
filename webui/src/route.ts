/** Where the reader is: the part of the address behind #, so that every view has an address and Back works. */

import { useEffect, useState } from "preact/hooks";

export type Route = string[];

/** ``#/runs/long%20track/config`` → ["runs", "long track", "config"] */
export function parse(hash: string): Route {
  return hash
    .replace(/^#\/?/, "")
    .split("/")
    .filter(Boolean)
    .map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    });
}

export const to = (...parts: string[]): string => `#/${parts.map(encodeURIComponent).join("/")}`;

export function go(...parts: string[]): void {
  location.hash = to(...parts);
}

/** The one-time code of an address that `tmrld up` printed; taken out of the address and the history at once. */
export function takeCode(): string | null {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code !== null) history.replaceState(null, "", location.pathname);
  return code;
}

export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const moved = () => setHash(location.hash);
    window.addEventListener("hashchange", moved);
    return () => window.removeEventListener("hashchange", moved);
  }, []);
  return parse(hash);
}
