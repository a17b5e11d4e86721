/** Who is using the page, for all views. */

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Scope, Session } from "./types";

const RANK: Record<Scope, number> = { viewer: 0, operator: 1, admin: 2 };

export const SessionContext = createContext<Session>({ name: "", scope: "viewer", expires: null });

/** Whether the reader may do what this scope allows. */
export function useMay(scope: Scope): boolean {
  return RANK[useContext(SessionContext).scope] >= RANK[scope];
}
