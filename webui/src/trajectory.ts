/** Driven lines. */

import type { DrivenEpisode, Trajectory } from "./types";

/** The line of an episode without points that are not numbers; undefined where none is known. */
export function lineOf(driven: DrivenEpisode | null | undefined): Trajectory | undefined {
  const line: Trajectory = { x: [], z: [], speed: [], time: [] };
  driven?.trajectory.x.forEach((x, index) => {
    const z = driven.trajectory.z[index] ?? null;
    if (x === null || z === null) return;
    line.x.push(x);
    line.z.push(z);
    line.speed.push(driven.trajectory.speed[index] ?? 0);
    line.time.push(driven.trajectory.time[index] ?? 0);
  });
  return line.x.length > 0 ? line : undefined;
}
