/** What the API says, by short names.  `schemas.ts` is made from its OpenAPI document; configurations are JSON here. */

import type { components } from "./schemas";

type Schemas = components["schemas"];
type Configured<A> = Omit<A, "config"> & { config: JsonObject };

export type Scope = "viewer" | "operator" | "admin";
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export type Session = Omit<Schemas["Session"], "scope"> & { scope: Scope };
export type Run = Configured<Schemas["Run"]>;
export type Preset = Configured<Schemas["Preset"]>;
export type Series = Schemas["Series"];
export type MetricInfo = Schemas["MetricInfo"];
export type Metrics = Schemas["Metrics"];
export type Episode = Schemas["Episode"];
export type Episodes = Schemas["Episodes"];
export type DrivenEpisode = Schemas["DrivenEpisode"];
/** A driven line of known points: metres, metres per second, seconds. */
export type Trajectory = Record<keyof DrivenEpisode["trajectory"], number[]>;
export type Track = Schemas["Track"];
export type Weights = Schemas["Weights"];
export type Bottleneck = Schemas["Bottleneck"];
export type Applies = Schemas["Change"]["applies"];
export type Change = Schemas["Change"];
export type Configuration = Configured<Schemas["Config"]>;
export type Edit = Configured<Schemas["Edit"]>;
export type Revision = Schemas["Revision"];
export type ShelfItem = Schemas["ShelfItem"];
export type Board = Schemas["Board"];
export type LeaderboardEntry = Schemas["LeaderboardEntry"];
export type Node = Schemas["Node"];
export type Diagnosis = Schemas["Diagnosis"];
export type Examination = Schemas["Examination"];
export type LogLine = Schemas["LogLine"];
export type Storage = Schemas["Storage"];
export type Cleaned = Schemas["Cleaned"];
export type Invite = Schemas["Invite"];
export type NewInvite = Schemas["MadeInvite"];
export type Token = Schemas["Token"];
export type IssuedToken = Schemas["IssuedToken"];

/** A frame of what a worker's car sees; comes on the live stream, only while somebody watches. */
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

/** Something that is wrong with a training since ``update``; a trainer reports those that stand as its value ``health``. */
export interface Verdict {
  code: string;
  update: number;
  text: string;
  mend: string;
  /** JSON has no infinities: null where a number is not finite. */
  numbers: Record<string, number | null>;
}
