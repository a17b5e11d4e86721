"""The fastest lap there is: how fast the simulator's car can be driven round a track, for policies to be measured against.

    python benchmarks/reference_lap.py --all --write

Two methods that share only the car's constants.  The first is optimal control of the car's own equations: a plan by direct
collocation, then the same on the simulator's own time grid, driven in the exact simulator and recorded (`laps/plan.py`,
`laps/drive.py`).  The reference is what the recorded actions drive when the environment replays them.  The second is a
quasi-steady-state lap on a line of its own (`laps/quasi_steady.py`).  Both keep both axles on tarmac or paint.  No rule of the
simulator demands that: ``--grass 2`` plans with two metres of grass to cut corners over, and finds that it does not pay.

It fails when the two differ by more than 2 %, and when a policy (``--policy``, or a lap time ``--lap-time``) beats the reference by
more than 2 %: then the yardstick is wrong.
``--recorded`` drives the committed laps again instead of making new ones, which takes seconds instead of minutes.
It is a yardstick, never an input to training.  Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from report import print_report
from training import tmrld

from tmrld.envs.sim.tracks import BUNDLED, named

RESULTS = Path(__file__).parent / "results"
TABLE = RESULTS / "reference_lap.csv"
ACTIONS = RESULTS / "reference_lap"
AGREEMENT = 0.02
"""How far the two methods, or a policy and the reference, may be apart."""


@dataclass(frozen=True)
class Row:
    """A line of the table: seconds, but for the track, its length and the steps."""

    track: str
    length_m: float
    lap_s: float
    plan_s: float
    quasi_steady_s: float
    steps: int
    seconds: float

    @property
    def disagreement(self) -> float:
        """Of the second method with the first, as a share of the lap."""
        return self.quasi_steady_s / self.lap_s - 1.0


def complaints(row: Row, policy_s: float | None) -> list[str]:
    """What is wrong with the yardstick, in sentences; nothing if all is well."""
    found = []
    if abs(row.disagreement) > AGREEMENT:
        found.append(
            f"{row.track}: the two methods differ by {row.disagreement:+.1%}, at most {AGREEMENT:.0%} is expected "
            f"(lap {row.lap_s:.2f} s, quasi-steady {row.quasi_steady_s:.2f} s): one of them has found a bad line"
        )
    if policy_s is not None and policy_s < row.lap_s * (1.0 - AGREEMENT):
        found.append(
            f"{row.track}: a lap of {policy_s:.2f} s beats the reference of {row.lap_s:.2f} s by {1.0 - policy_s / row.lap_s:.1%}, "
            f"more than {AGREEMENT:.0%}: the yardstick is wrong, look at what that lap does differently"
        )
    return found


def read_table() -> dict[str, Row]:
    """The committed laps, by track."""
    if not TABLE.exists():
        return {}
    with TABLE.open(newline="") as file:
        return {line["track"]: _row(line) for line in csv.DictReader(file)}


def write_table(rows: dict[str, Row]) -> None:
    """The tracks in the order of the bundled ones, others behind them."""
    order = sorted(rows, key=lambda name: (list(BUNDLED).index(name) if name in BUNDLED else len(BUNDLED), name))
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Row))
        for name in order:
            row = rows[name]
            times = (f"{value:.3f}" for value in (row.lap_s, row.plan_s, row.quasi_steady_s))
            writer.writerow((row.track, f"{row.length_m:.1f}", *times, row.steps, f"{row.seconds:.0f}"))


def recorded_actions(track: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The committed actions of the reference lap: (steps, 3) float32, gas, brake and steer."""
    return np.loadtxt(ACTIONS / f"{track}.csv", np.float32, delimiter=",", skiprows=1, ndmin=2)


def measure(name: str, write: bool) -> Row:
    """Work the reference lap of a track out; ``write`` keeps its actions and draws it."""
    from laps.reference import reference_lap

    found = reference_lap(named(name), lambda line: print(f"  {name}: {line}", flush=True))
    row = Row(name, found.track.length, found.lap_s, found.plan_s, found.steady_s, len(found.lap.actions), found.seconds)
    if write:
        from laps.chart import draw

        ACTIONS.mkdir(exist_ok=True)
        np.savetxt(ACTIONS / f"{name}.csv", found.lap.actions, "%.9g", ",", header="gas,brake,steer", comments="")
        draw(found.plan.road, found.lap, found.steady, ACTIONS / f"{name}.png")
        write_table({**read_table(), name: row})
    return row


def measure_recorded(row: Row, write: bool) -> Row:
    """Drive the recorded lap of a track again, and work its second estimate out anew; ``write`` draws it."""
    from laps.reference import quasi_steady_lap, rerun

    lap, lap_s = rerun(named(row.track), recorded_actions(row.track))
    road, steady, steady_s = quasi_steady_lap(named(row.track))
    row = replace(row, lap_s=lap_s, quasi_steady_s=steady_s)
    if write:
        from laps.chart import draw

        draw(road, lap, steady, ACTIONS / f"{row.track}.png")
        write_table({**read_table(), row.track: row})
    return row


def measure_grass(name: str, grass_m: float) -> dict[str, Any]:
    """What cutting corners over grass gains: plans with and without so many metres of it beside the road."""
    from laps.reference import best_plan, grass_plan

    def say(line: str) -> None:
        print(f"  {name}: {line}", flush=True)

    plan = best_plan(named(name), say)
    cut = grass_plan(plan, grass_m, say)
    on_grass = (abs(cut.states[:, 0]) > cut.road.reach).mean()
    gain_s = plan.lap_time_s - cut.lap_time_s
    return {"metric": f"grass_gain_s {name}", "value": gain_s, "unit": "s", "peers": {"share_of_way_on_grass": float(on_grass)}}


def policy_lap_s(weights: Path, track: str) -> float | None:
    """The lap of a policy that does what it thinks best, from the start line; None when it does not finish."""
    from tmrld.rl.weights import unpack

    environment = unpack(weights.read_bytes())[0].spec.id
    command = ("env", "run", environment, "--policy", str(weights), "--track", track, "--episodes", "1", "--json")
    lap: float | None = tmrld(*command)["median_lap_s"]
    return lap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tracks", nargs="*", metavar="TRACK", help="names of tracks, bundled or generated")
    parser.add_argument("--all", action="store_true", help="all bundled tracks")
    parser.add_argument("--recorded", action="store_true", help="drive the committed laps again, make no new ones")
    parser.add_argument("--write", action="store_true", help="write table, actions and plots to benchmarks/results")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="weights of a policy to compare with")
    parser.add_argument("--lap-time", type=float, metavar="S", help="a lap time to compare with")
    parser.add_argument("--grass", type=float, metavar="M", help="only tell what cutting corners over so much grass would gain")
    options = parser.parse_args()
    names = [*options.tracks, *(BUNDLED if options.all else ())]
    if not names:
        parser.error(f"name a track, or --all: there are {', '.join(BUNDLED)}")
    if options.grass is not None:
        print_report("reference_lap", [measure_grass(name, options.grass) for name in names])
        return
    wrong, results = [], []
    for name in names:
        if options.recorded and name not in (recorded := read_table()):
            parser.error(f"no lap of {name!r} is recorded: there are {', '.join(recorded)}")
        row = measure_recorded(recorded[name], options.write) if options.recorded else measure(name, options.write)
        policy_s = policy_lap_s(options.policy, name) if options.policy else options.lap_time
        wrong += complaints(row, policy_s)
        results.append(_result(row, policy_s))
    print_report("reference_lap", results)
    if wrong:
        sys.exit("\n".join(wrong))


def _result(row: Row, policy_s: float | None) -> dict[str, Any]:
    peers = {
        "plan_s": row.plan_s,
        "lap_over_plan": row.lap_s / row.plan_s,
        "quasi_steady_s": row.quasi_steady_s,
        "quasi_steady_over_lap": row.quasi_steady_s / row.lap_s,
        "seconds_to_compute": row.seconds,
    }
    if policy_s is not None:
        peers |= {"policy_s": policy_s, "policy_over_lap": policy_s / row.lap_s}
    return {"metric": f"reference_lap_s {row.track}", "value": row.lap_s, "unit": "s", "peers": peers}


def _row(line: dict[str, str]) -> Row:
    numbers = {name: float(line[name]) for name in ("length_m", "lap_s", "plan_s", "quasi_steady_s", "seconds")}
    return Row(track=line["track"], steps=int(line["steps"]), **numbers)


if __name__ == "__main__":
    main()
