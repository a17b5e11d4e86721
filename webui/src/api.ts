/** One function per operation of the API.  Failures are `Problem`s, with the sentence that the relay wrote for people. */

import type * as T from "./types";

const PREFIX = "/api/v1";

export interface FieldProblem {
  path: string;
  message: string;
}

/** An answer that says no; `code` is for programs, the message for people. */
export class Problem extends Error {
  constructor(
    readonly code: string,
    readonly status: number,
    detail: string,
    readonly errors: FieldProblem[] = [],
  ) {
    super(detail);
  }
}

/** Called when the session is not valid (any more): the page then asks to sign in. */
let onSignedOut: () => void = () => undefined;

export function whenSignedOut(callback: () => void): void {
  onSignedOut = callback;
}

async function ask<A>(method: string, path: string, body?: unknown): Promise<A> {
  const type = body instanceof Blob ? "application/octet-stream" : method === "PATCH" ? "application/merge-patch+json" : "application/json";
  let response: Response;
  try {
    response = await fetch(PREFIX + path, {
      method,
      credentials: "same-origin",
      headers: body === undefined ? {} : { "Content-Type": type },
      body: body === undefined ? null : body instanceof Blob ? body : JSON.stringify(body),
    });
  } catch {
    throw new Problem("unreachable", 0, "The relay does not answer. This page tries again by itself.");
  }
  if (!response.ok) {
    const problem = await problemOf(response);
    if (response.status === 401 && path !== "/login" && path !== "/session") onSignedOut();
    throw problem;
  }
  return (response.status === 204 ? undefined : await response.json()) as A;
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    const said = await response.json();
    const errors = (said.errors ?? []).map((error: Record<string, string>) => ({
      path: error["path"] ?? error["field"] ?? "",
      message: error["message"] ?? "",
    }));
    return new Problem(String(said.code), response.status, String(said.detail), errors);
  } catch {
    return new Problem("unknown", response.status, `The relay answered ${response.status} ${response.statusText}.`);
  }
}

const get = <A>(path: string) => ask<A>("GET", path);
const post = <A>(path: string, body?: unknown) => ask<A>("POST", path, body);
const remove = (path: string) => ask<void>("DELETE", path);
const listed = async <A>(path: string) => (await get<{ items: A[] }>(path)).items;
const at = encodeURIComponent;
const ofRun = (run: string) => `/runs/${at(run)}`;
const ofNode = (node: string) => `/nodes/${at(node)}`;

// ---- who is asking

export const session = () => get<T.Session>("/session");
export const login = (secret: { token: string } | { code: string }) => post<T.Session>("/login", secret);
export const logout = () => post<void>("/logout");
export const tokens = () => listed<T.Token>("/tokens");
export const newToken = (name: string, scope: string) => post<T.IssuedToken>("/tokens", { name, scope });
export const deleteToken = (name: string) => remove(`/tokens/${at(name)}`);

// ---- machines

export const nodes = () => listed<T.Node>("/nodes");
export const renameNode = (node: string, name: string) => ask<T.Node>("PATCH", ofNode(node), { name });
export const revokeNode = (node: string) => remove(ofNode(node));
export const commandNode = (node: string, verb: "start" | "stop" | "restart") => post<T.Node>(`${ofNode(node)}/${verb}`);
export const assignNode = (node: string, run: string | null, take_over = false) =>
  ask<T.Node>("PUT", `${ofNode(node)}/assignment`, { run, take_over });
export const examine = (node: string) => post<T.Examination>(`${ofNode(node)}/doctor`);
export const examination = (node: string) => get<T.Examination>(`${ofNode(node)}/doctor`);
export const nodeLog = (node: string, limit = 200) => listed<T.LogLine>(`${ofNode(node)}/log?limit=${limit}`);
export const storage = () => get<T.Storage>("/storage");
export const cleanStorage = (dry_run: boolean) => post<T.Cleaned>("/storage/clean", { dry_run });
export const invites = () => listed<T.Invite>("/invites");
export const newInvite = (role: string, name: string | null, expires_s: number) =>
  post<T.NewInvite>("/invites", { role, name, expires_s });
export const deleteInvite = (id: string) => remove(`/invites/${at(id)}`);

// ---- runs

export const runs = () => listed<T.Run>("/runs");
export const run = (name: string) => get<T.Run>(ofRun(name));
export const presets = () => listed<T.Preset>("/presets");
export const newRun = (name: string, preset: string | null, config: T.JsonObject, start: "now" | "queue" | "no") =>
  post<T.Run>("/runs", { name, preset, config, start });
export const moveRun = (name: string, verb: "start" | "pause" | "resume" | "stop" | "queue") =>
  post<T.Run>(`${ofRun(name)}/${verb}`);
export const cloneRun = (name: string, clone: string, config: T.JsonObject) =>
  post<T.Run>(`${ofRun(name)}/clone`, { name: clone, config });
export const deleteRun = (name: string) => remove(ofRun(name));

// ---- configuration

export const schema = () => get<T.JsonObject>("/schema");
export const configuration = (run: string) => get<T.Configuration>(`${ofRun(run)}/config`);
export const revisions = (run: string) => listed<T.Revision>(`${ofRun(run)}/config/revisions`);
export const revision = (run: string, number: number) => get<T.Configuration>(`${ofRun(run)}/config/revisions/${number}`);
export const patchConfiguration = (run: string, from: number, patch: T.JsonObject, dryRun: boolean) =>
  ask<T.Edit>("PATCH", `${ofRun(run)}/config?revision=${from}${dryRun ? "&dry_run=true" : ""}`, patch);
export const rollBack = (run: string, to: number, from: number) =>
  post<T.Edit>(`${ofRun(run)}/config/rollback`, { to, revision: from });

// ---- results

export interface Range {
  start?: number | undefined;
  stop?: number | undefined;
  maxPoints?: number | undefined;
}

export function metrics(run: string, names: string[], range: Range = {}): Promise<T.Metrics> {
  const query = new URLSearchParams({ names: names.join(","), max_points: String(range.maxPoints ?? 1000) });
  if (range.start !== undefined) query.set("start", String(range.start));
  if (range.stop !== undefined) query.set("stop", String(range.stop));
  return get<T.Metrics>(`${ofRun(run)}/metrics?${query}`);
}

export const csvAddress = (run: string, names: string[]) =>
  `${PREFIX}${ofRun(run)}/metrics?${new URLSearchParams({ names: names.join(","), format: "csv", max_points: "100000" })}`;

export function episodes(run: string, options: { limit?: number; purpose?: string; before?: string | undefined } = {}) {
  const query = new URLSearchParams({ limit: String(options.limit ?? 50) });
  if (options.purpose) query.set("purpose", options.purpose);
  if (options.before) query.set("before", options.before);
  return get<T.Episodes>(`${ofRun(run)}/episodes?${query}`);
}

export const episode = (run: string, id: string) => get<T.DrivenEpisode>(`${ofRun(run)}/episodes/${at(id)}`);
export const track = (run: string) => get<T.Track>(`${ofRun(run)}/track`);
export const bottleneck = (run: string) => get<T.Bottleneck>(`${ofRun(run)}/bottleneck`);
export const runLog = (run: string, limit = 200) => listed<T.LogLine>(`${ofRun(run)}/log?limit=${limit}`);
export const weights = (run: string) => listed<T.Weights>(`${ofRun(run)}/weights`);
export const pinWeights = (run: string, version: number, pinned: boolean) =>
  post<T.Weights>(`${ofRun(run)}/weights/${version}/${pinned ? "pin" : "unpin"}`);
export const weightsAddress = (run: string, version: number | "latest" | "best") => `${PREFIX}${ofRun(run)}/weights/${version}`;

// ---- tracks

export const tracks = () => listed<T.ShelfItem>("/tracks");
export const trackLine = (name: string) => get<T.Track>(`/tracks/${at(name)}/line?max_points=600`);
export const trackAddress = (name: string) => `${PREFIX}/tracks/${at(name)}/file`;
export const putTrack = (name: string, file: Blob) => ask<T.ShelfItem>("PUT", `/tracks/${at(name)}`, file);
export const deleteTrack = (name: string) => remove(`/tracks/${at(name)}`);
export const leaderboard = () => listed<T.Board>("/leaderboard");
export const deleteEvaluation = (id: number) => remove(`/evaluations/${id}`);
