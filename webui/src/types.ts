/** What the API says, as far as this page reads it. */

export type Scope = "viewer" | "operator" | "admin";
export type Applies = "live" | "restart" | "new-run";
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface Session {
  name: string;
  scope: Scope;
  expires?: number | null;
}

export interface Run {
  name: string;
  state: string;
  created: number;
  revision: number;
  config: JsonObject;
  lineage: number;
  update: number;
  transitions: number;
  episodes: number;
  best_lap_s: number | null;
  weights_version: number;
  queued_position?: number | null;
  trainer?: string | null;
  workers?: string[];
  updates_per_s?: number | null;
  last_return?: number | null;
  spark?: (number | null)[];
}

export interface Preset {
  name: string;
  title: string;
  description: string;
  config: JsonObject;
}

export interface Series {
  name: string;
  updates: number[];
  transitions: number[];
  times?: number[];
  values: (number | null)[];
}

export interface MetricInfo {
  name: string;
  title: string;
  group: string;
  unit: string;
  description: string;
  healthy: string;
  better: "higher" | "lower" | null;
}

export interface Metrics {
  run: string;
  names: string[];
  series: Series[];
  info?: MetricInfo[];
}

export interface Episode {
  episode: string;
  worker: string;
  track: string;
  purpose: string;
  actor: string;
  steps: number;
  episode_return: number | null;
  finished: boolean;
  lap_time_s: number | null;
  progress: number | null;
  weights_version: number;
  received: number;
}

export interface Trajectory {
  x: number[];
  z: number[];
  speed: number[];
  time: number[];
}

export interface DrivenEpisode extends Episode {
  trajectory: Trajectory;
}

export interface Track {
  name: string;
  x: number[];
  z: number[];
  width_m: number | null;
}

export interface Weights {
  version: number;
  update: number;
  lineage: number;
  size_bytes: number;
  sha256: string;
  created: number;
  pinned: boolean;
  evaluation: { episodes: number; finished: number; mean_return: number | null; median_lap_s: number | null } | null;
}

export interface Bottleneck {
  part: string;
  sentence: string;
}

export interface Change {
  path: string;
  before: Json;
  after: Json;
  applies: Applies;
}

export interface Configuration {
  revision: number;
  config: JsonObject;
  author?: string;
  time?: number;
  changes?: Change[];
}

export interface Revision {
  revision: number;
  author: string;
  time: number;
  changes: Change[];
}

export interface Node {
  name: string;
  role: string;
  connected?: boolean;
  version: string;
  remote: string;
  run: string;
  state: string;
  detail: string;
  latency_s: number | null;
  machine: Record<string, unknown>;
  values: Record<string, unknown>;
  last_seen?: number | null;
  assigned?: string | null;
}

export interface LogLine {
  time: number;
  level: string;
  source: string;
  text: string;
}

export interface Invite {
  id: string;
  role: string;
  name: string | null;
  created: number;
  expires: number;
  used_by: string | null;
}

export interface NewInvite {
  id: string;
  role: string;
  name: string | null;
  expires: number;
  invite: string;
  command: string;
}

export interface Token {
  name: string;
  scope: string;
  created: number;
}

/** A frame of what a worker's car sees; comes only while somebody watches. */
export interface Preview {
  image: string;
  width: number;
  height: number;
  beams: [number, number, number, number][];
  action: number[];
  speed: number | null;
  step: number;
  worker: string;
}
