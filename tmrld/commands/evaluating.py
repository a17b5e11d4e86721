"""`tmrld eval` and `tmrld leaderboard`: how well something drives, and who drives best."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmrld.client import Client
from tmrld.commands.asking import add_action, add_relay_flags, connect, moment, number, print_json, print_table
from tmrld.commands.flags import add_game_flag, load_settings, positive, whole
from tmrld.commands.weights import checked_version
from tmrld.errors import BadInput, LinkError, NotFound, Refused, WeightsError
from tmrld.local import BUNDLED, bundled_for, placed, shelf_of
from tmrld.scores import LeagueScore, Score, league, score
from tmrld.settings import Settings

if TYPE_CHECKING:
    from tmrld.envs.options import EnvironmentOptions
    from tmrld.worker.driving import Drive
    from tmrld.worker.evaluating import Candidate

EPISODES = 10
SCORE_COLUMNS = ("finished", "median lap", "mean", "std", "best lap", "mean return")


def add(commands: Any) -> None:
    """Add `tmrld eval` and `tmrld leaderboard` to the command line."""
    parser = commands.add_parser(
        "eval",
        help="drive with weights as well as they can, and score it",
        description="Drive episodes without exploring, and score them: finishes, lap times, returns.",
    )
    parser.add_argument(
        "weights",
        metavar="WEIGHTS",
        help="a weights file, a name on this machine's shelf, `bundled`, RUN or RUN@VERSION of a relay, or module:attribute for a "
        "policy in Python",
    )
    parser.add_argument("--id", metavar="ID", help="environment (default: one of ours that the weights were made for)")
    parser.add_argument(
        "--track", action="append", metavar="NAME", help="track to drive; repeat it for several (default: as the settings say)"
    )
    add_game_flag(parser)
    parser.add_argument("--protocol", default="plain", metavar="plain|tmrl-league", help="by which rules (default: plain)")
    parser.add_argument("--episodes", type=positive, metavar="N", help=f"how many on each track (default: {EPISODES})")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="seed of the first episode (default: 0)")
    parser.add_argument(
        "--perturbed", action="store_true", help="start as a run's evaluation does: off the line, askew, other grip"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, e.g. run.environment.history=1"
    )
    parser.add_argument("--publish", action="store_true", help="put the result on the leaderboard of the relay")
    parser.add_argument("--name", metavar="NAME", help="what to call it (default: the name of the weights)")
    parser.add_argument("--note", default="", metavar="TEXT", help="what else to say there")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    add_relay_flags(parser)
    parser.set_defaults(command=_eval)

    board = add_action(commands, "leaderboard", _leaderboard, help="who drives best on each track")
    board.add_argument("--track", metavar="NAME", help="only on this one")


@dataclass(frozen=True)
class Result:
    """What was driven on one track."""

    track: str
    candidate: Candidate
    environment: str
    game: str
    drives: list[Drive]
    remarks: list[str]
    score: Score
    league: LeagueScore | None
    published: int | None = None


def _eval(options: argparse.Namespace, _began: float) -> int:
    from tmrld.worker.evaluating import LEAGUE, PROTOCOLS

    if options.protocol not in PROTOCOLS:
        raise BadInput(f"--protocol {options.protocol!r} is none that there is: expected {' or '.join(PROTOCOLS)}")
    if options.protocol == LEAGUE and options.episodes is not None:
        raise BadInput("the league's rules say how many episodes are driven: leave --episodes out, or use the protocol plain")
    settings = load_settings(options)
    client = _publisher(options) if options.publish else None
    results = []
    for track in options.track or [None]:
        result = _driven(options, settings, track)
        if client is not None:
            result = _published(client, result, options)
        results.append(result)
    _print(results, options)
    return 0


# What drives, and where


def _driven(options: argparse.Namespace, settings: Settings, track: str | None) -> Result:
    """Drive on one track, and tell each episode."""
    from tmrld.commands.env.flags import told
    from tmrld.worker.evaluating import LEAGUE, evaluate, outcomes

    candidate = _candidate(options, settings, track)
    if options.name:
        candidate = replace(candidate, name=options.name)
    environment, name = _environment(options, settings, track, candidate)
    drives: list[Drive] = []
    remarks: list[str] = []
    tell = _Telling(f"{candidate.name} on {name}:")

    def say(sentence: str) -> None:
        remarks.append(sentence)
        tell(sentence)

    for drive in evaluate(
        environment,
        candidate,
        protocol=options.protocol,
        episodes=options.episodes or EPISODES,
        seed=options.seed,
        perturbed=options.perturbed,
        say=say,
    ):
        drives.append(drive)
        tell(told(drive))
    if (
        options.protocol != LEAGUE
        and len(drives) > 1
        and len({(each.summary.steps, each.summary.lap_time_s) for each in drives}) == 1
    ):
        say("all episodes were the same: nothing varies here; --perturbed starts as a run's evaluation does")
    found = outcomes(drives)
    by_the_league = league(found) if options.protocol == LEAGUE else None
    game = _game(environment)
    return Result(name, candidate, environment.id, game, drives, remarks, score(found), by_the_league)


class _Telling:
    """Prints lines as they come, under a heading."""

    def __init__(self, heading: str) -> None:
        self._heading = heading

    def __call__(self, line: str) -> None:
        if self._heading:
            print(self._heading, flush=True)
            self._heading = ""
        print(line, flush=True)


def _environment(
    options: argparse.Namespace, settings: Settings, track: str | None, candidate: Candidate
) -> tuple[EnvironmentOptions, str]:
    """The environment to drive in, and the name of its track."""
    from tmrld.envs.options import OURS
    from tmrld.envs.trackmania.tracks import name_of
    from tmrld.worker.evaluating import LEAGUE, LEAGUE_TRACK, fitting

    made_for = candidate.manifest.spec.id if candidate.manifest is not None else ""
    environment = settings.run.environment
    if id := options.id or (made_for if made_for in OURS else ""):  # module:attribute in a weights file would run what it names
        environment = environment.model_copy(update={"id": id})
    if environment.id not in OURS:
        kwargs = environment.kwargs if track is None else {**environment.kwargs, "track": track}
        return environment.model_copy(update={"kwargs": kwargs}), str(kwargs.get("track", environment.id))
    if environment.game == "trackmania" and options.protocol == LEAGUE:
        track = track or LEAGUE_TRACK
    if environment.game == "trackmania" and options.perturbed and options.protocol != LEAGUE:
        raise BadInput("a start in the game cannot be perturbed: leave --perturbed out, or drive the simulator")
    environment = environment.model_copy(update={"track": track or environment.track})
    return placed(fitting(environment, candidate), settings), name_of(environment.track)


def _game(environment: EnvironmentOptions) -> str:
    """Which board it belongs to; an environment of one's own says so in its keyword arguments."""
    from tmrld.envs.options import OURS

    game = environment.game if environment.id in OURS else environment.kwargs.get("game", "")
    return game if game in ("sim", "trackmania") else ""


def _candidate(options: argparse.Namespace, settings: Settings, track: str | None) -> Candidate:
    """What is evaluated on this track.  Raises BadInput, NotFound, WeightsError and LinkLost."""
    from tmrld.storage.files import read_file
    from tmrld.worker.evaluating import of_module, of_weights

    text: str = options.weights
    if text == BUNDLED:
        environment = settings.run.environment
        named = environment.model_copy(update={"id": options.id or environment.id})
        text = bundled_for(named, track or environment.track)
    path = Path(text).expanduser()
    if path.is_file():
        try:
            return of_weights(path.stem, read_file(path))
        except WeightsError as error:
            raise WeightsError(f"{path} cannot be used: {error}") from error
    if ":" in text:
        return of_module(text)
    if path.suffix == ".safetensors" or len(path.parts) > 1:
        raise BadInput(f"there is no file {text}: give the path of a weights file, as `tmrld weights pull` writes it")
    run, at, version = text.partition("@")
    if not at:
        try:
            return of_weights(text, shelf_of(settings).read("weights", text))
        except NotFound as error:
            missing = str(error)
        try:
            return of_weights(text, _of_run(connect(options), run, None))
        except (NotFound, Refused, LinkError) as error:
            raise NotFound(f"{text!r} is no file, and no run that a relay told of ({error}); and {missing}") from error
    return of_weights(text, _of_run(connect(options), run, version))


def _of_run(client: Client, run: str, version: str | None) -> bytes:
    """A version of a run; without one, the best by evaluation, or the newest before the first."""
    if version is not None:
        return client.download("runs", run, "weights", checked_version(version))[0]
    try:
        return client.download("runs", run, "weights", "best")[0]
    except NotFound:
        return client.download("runs", run, "weights", "latest")[0]


# Publishing


def _publisher(options: argparse.Namespace) -> Client:
    """A relay where this token may publish: it is asked before anything is driven."""
    client = connect(options)
    session = client.get("session")
    if session["scope"] == "viewer":
        raise Refused(
            f"the token of {session['name']} may look at {client.url}, and not publish there: use one of an operator, as "
            "`tmrld token new --role operator` prints it"
        )
    return client


def _published(client: Client, result: Result, options: argparse.Namespace) -> Result:
    candidate = result.candidate
    body = {
        "weights": {"name": candidate.name, "run": candidate.run or None, "version": candidate.version},
        "track": result.track,
        "environment": result.environment,
        "game": result.game,
        "protocol": options.protocol,
        "perturbed": options.perturbed,
        "note": options.note,
        "episodes": [_episode(drive) for drive in result.drives],
    }
    answer = client.post("evaluations", body=body)
    print(f"published at {client.url} as evaluation {answer['id']}", flush=True)
    return replace(result, published=answer["id"])


def _episode(drive: Drive) -> dict[str, Any]:
    summary = drive.summary
    return {
        "seed": drive.seed,
        "finished": summary.finished,
        "lap_time_s": summary.lap_time_s,
        "episode_return": summary.episode_return if math.isfinite(summary.episode_return) else None,
        "steps": summary.steps,
    }


# Printing


def _print(results: Sequence[Result], options: argparse.Namespace) -> None:
    if options.json:
        print_json(
            {
                "protocol": options.protocol,
                "perturbed": options.perturbed,
                "tracks": [_plain(result) for result in results],
            }
        )
        return
    for result in results:
        if result.league is not None:
            print(f"{result.candidate.name} on {result.track}, by the rules of the league: {_standing(result.league)}")
    print_table(("track", *SCORE_COLUMNS), [(result.track, *_cells(asdict(result.score))) for result in results], "")


def _plain(result: Result) -> dict[str, Any]:
    return {
        "track": result.track,
        "weights": {"name": result.candidate.name, "run": result.candidate.run, "version": result.candidate.version},
        "environment": result.environment,
        "game": result.game,
        "episodes": [_episode(drive) for drive in result.drives],
        "score": asdict(result.score),
        "league": None if result.league is None else asdict(result.league),
        "remarks": result.remarks,
        "evaluation": result.published,
    }


def _standing(found: LeagueScore) -> str:
    crashes = f"{found.crashes} crash{'es' * (found.crashes != 1)}"
    if found.eliminated:
        return f"out, after {crashes}"
    return f"{number(found.mean_s)} s (standard deviation {number(found.std_s)} s), {crashes}"


def _cells(found: dict[str, Any]) -> tuple[str, ...]:
    """A score as the API has it, in `SCORE_COLUMNS`."""
    return (
        f"{found['finished']} of {found['episodes']}",
        *(_seconds(found[name]) for name in ("median_lap_s", "mean_lap_s", "std_lap_s", "best_lap_s")),
        number(found["mean_return"]),
    )


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def _leaderboard(client: Client, options: argparse.Namespace) -> int:
    answer = client.get("leaderboard", track=options.track)
    if options.json:
        print_json(answer)
        return 0
    if not answer["items"]:
        here = f" on {options.track}" if options.track else ""
        flag = f" --track {options.track}" if options.track else ""
        print(f"nothing was evaluated{here} yet: `tmrld eval WEIGHTS{flag} --publish` does, and runs evaluate by themselves")
    for board in answer["items"]:
        world = {"sim": ", in the simulator", "trackmania": ", in TrackMania"}.get(board["game"], "")
        print(f"{board['track']}{world}")
        rows = [
            (str(entry["rank"]), _who(entry), *_cells(entry["score"]), _how(entry), moment(entry["created"])[:10])
            for entry in board["entries"]
        ]
        print_table(("", "who", *SCORE_COLUMNS, "how", "when"), rows, "")
    return 0


def _who(entry: dict[str, Any]) -> str:
    weights = entry["weights"]
    version = "" if weights["version"] is None else f"@{weights['version']}"
    run = f" ({weights['run']}{version})" if weights["run"] not in (None, weights["name"]) else version
    author = f" by {entry['author']}" if entry["author"] else ""
    return f"{weights['name']}{run}{author}"


def _how(entry: dict[str, Any]) -> str:
    """By which protocol; the league's own number stands here, for the board is by plain laps."""
    if entry["league"] is not None:
        mean = entry["league"]["mean_s"]
        return f"league: {'out' if mean is None else _seconds(mean)}"
    return "perturbed starts" if entry["perturbed"] else "plain"
