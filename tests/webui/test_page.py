"""The page in a real browser, on a relay where a car really learns: every view and control, as a person uses them."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.cluster import await_that
from tests.webui.site import Site
from tmrld.storage.layout import Layout

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]  # playwright leaves pipes open at its end

expect.set_options(timeout=30_000)
VIEWS = {
    "runs": "Runs",
    "runs/demo": "Last line driven",
    "runs/demo/metrics": "Critics",
    "runs/demo/episodes": "Driver",
    "runs/demo/config": "Algorithm",
    "runs/demo/weights": "Download the newest",
    "runs/demo/log": "Log",
    "tracks": "Who drives best",
    "fleet": "Invite a machine",
}
"""Where each view is, and words that it shows when it is loaded."""

READ_AT = re.compile(r"^updates [\d.]+K?$")
"""What a chart says while a value is read."""


@pytest.fixture(autouse=True)
def _learning(site: Site) -> None:
    """What the views show is there: curves, an evaluation, a line."""

    def learned() -> bool:
        names = site.api("GET", "runs/demo/metrics")["names"]
        return {"training_return", "evaluation_return", "loss_critic"} <= set(names)

    await_that(learned, "the car has been evaluated", 120)


@contextmanager
def at(site: Site, browser: Browser, view: str, **options: Any) -> Iterator[Page]:
    page = site.open(browser, view, **options)
    try:
        yield page
    finally:
        page.context.close()


def test_a_one_time_address_signs_in_once_and_leaves_no_code_behind(site: Site, browser: Browser) -> None:
    code = site.api("POST", "codes")["code"]
    first, second = browser.new_context().new_page(), browser.new_context().new_page()
    first.goto(f"{site.url}/#code={code}")
    expect(first.get_by_role("heading", name="Runs")).to_be_visible()
    assert code not in first.url
    second.goto(f"{site.url}/#code={code}")
    expect(second.get_by_label("Token")).to_be_visible()
    expect(second.get_by_role("alert")).to_be_visible()
    for page in (first, second):
        page.context.close()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_each_view_can_be_used_by_everybody_and_asks_nobody_else(
    site: Site, browser: Browser, view: str, theme: str, width: int
) -> None:
    with at(site, browser, "", theme=theme, width=width) as page:
        asked: list[str] = []
        crashes: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: crashes.append(str(error)))
        page.on("console", lambda said: crashes.append(said.text) if "Content Security Policy" in said.text else None)
        page.goto(f"{site.url}/#/{view}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text(VIEWS[view]).first).to_be_visible()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert crashes == []
        assert [url for url in asked if not url.startswith((site.url, "blob:", "data:"))] == []


def test_a_curve_grows_by_itself(site: Site, browser: Browser) -> None:
    with at(site, browser, "runs/demo") as page:
        chart = page.get_by_role("img", name=re.compile("Reward of an episode"))
        label = chart.get_attribute("aria-label")
        assert label is not None
        expect(chart).not_to_have_attribute("aria-label", label)


SICK = {
    "code": "exploding",
    "update": 2100,
    "text": "the critics explode: they are wrong by 512.3, and rewards allow no value above 17.1",
    "mend": "lower algorithm.learning_rate_critic",
    "numbers": {"error": 512.3, "allowed": 17.1, "loss_critic": None},
}


@pytest.mark.parametrize("width", [360, 1280])
def test_what_is_wrong_with_a_training_is_shown_as_long_as_it_lasts(site: Site, browser: Browser, width: int) -> None:
    told = [SICK]

    def answer(route: Route) -> None:
        answered = route.fetch()
        nodes = answered.json()
        for node in nodes["items"]:
            if node["role"] == "trainer":
                node["values"]["health"] = told
        route.fulfill(response=answered, json=nodes)

    with at(site, browser, "", width=width) as page:
        page.route("**/api/v1/nodes", answer)
        page.goto(f"{site.url}/#/runs/demo")
        panel = page.get_by_role("region", name="Something is wrong with the training")
        expect(panel.get_by_role("listitem")).to_contain_text("wrong by 512.3, and rewards allow no value above 17.1: lower")
        expect(panel).to_contain_text("since update 2,100 · error 512.3 · allowed 17.1 · loss critic –")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        told.clear()
        expect(panel).to_have_count(0)
        page.unroute_all(behavior="ignoreErrors")


REFUSED = (
    "trainer desk: the training cannot begin: the replay memory needs 900 GiB, and this machine has 64: lower replay.capacity"
)


@pytest.mark.parametrize("width", [360, 1280])
def test_a_run_that_cannot_be_trained_says_why_in_the_list_and_on_each_tab(site: Site, browser: Browser, width: int) -> None:
    told: list[str | None] = [REFUSED]

    def answer(route: Route) -> None:
        answered = route.fetch()
        runs = answered.json()
        for run in runs.get("items", [runs]):
            run["problem"] = told[0]
        route.fulfill(response=answered, json=runs)

    with at(site, browser, "", width=width) as page:
        page.route(re.compile(r"/api/v1/runs(/demo)?$"), answer)
        page.goto(f"{site.url}/#/runs")
        page.reload()
        expect(page.get_by_text("running, with a problem")).to_have_attribute("title", REFUSED)
        for tab in ("watch", "config"):
            page.goto(f"{site.url}/#/runs/demo/{tab}")
            expect(page.get_by_role("status").filter(has_text=REFUSED)).to_be_visible()
            expect(page.get_by_text("running, with a problem")).to_be_visible()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        told[0] = None
        expect(page.get_by_text(REFUSED)).to_have_count(0)
        page.unroute_all(behavior="ignoreErrors")


def test_a_chart_is_read_and_zoomed_by_keys(site: Site, browser: Browser) -> None:
    with at(site, browser, "runs/demo") as page:
        chart = page.get_by_role("img", name=re.compile("Reward of an episode"))
        expect(chart.locator("canvas")).to_be_visible()
        chart.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        expect(page.get_by_text(READ_AT).first).to_be_visible()
        page.keyboard.press("+")
        everything = page.get_by_role("button", name="Show everything")
        expect(everything).to_be_visible()
        page.keyboard.press("0")
        expect(everything).not_to_be_visible()


def test_a_chart_is_zoomed_by_dragging_and_its_x_axis_chosen(site: Site, browser: Browser) -> None:
    with at(site, browser, "runs/demo") as page:
        over = page.locator(".u-over").first
        box = await_that(over.bounding_box, "the chart has its place")

        def reads() -> bool:
            page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
            page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 50)
            return page.get_by_text(READ_AT).count() > 0

        await_that(reads, "the chart says what is under the pointer")
        page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 50, steps=5)
        page.mouse.up()
        expect(page.get_by_role("button", name="Show everything")).to_be_visible()
        page.get_by_role("button", name="Time", exact=True).click()
        expect(page.get_by_role("button", name="Time", exact=True)).to_have_attribute("aria-pressed", "true")
        expect(page.get_by_role("button", name="Show everything")).not_to_be_visible()


def test_the_map_shows_the_track_and_the_line_just_driven(site: Site, browser: Browser) -> None:
    with at(site, browser, "runs/demo") as page:
        expect(page.get_by_role("img", name=re.compile(r"Map of the track .*: the last line reached"))).to_be_visible()


def test_what_the_car_sees_is_shown_while_somebody_watches(site: Site, browser: Browser) -> None:
    with at(site, browser, "runs/demo") as page:
        camera = page.get_by_role("img", name=re.compile("What the car of .* sees, with 19 beams"))
        expect(camera).to_be_visible()
        expect(page.get_by_text("Gas")).to_be_visible()
        page.get_by_role("checkbox", name="Live").uncheck()
        expect(camera).not_to_be_visible()


def test_a_run_is_paused_and_goes_on_at_the_press_of_a_button(site: Site, browser: Browser) -> None:
    with at(site, browser, "runs/demo") as page:
        page.get_by_role("button", name="Pause demo").click()
        expect(page.get_by_role("button", name="Resume demo")).to_be_visible()
        assert site.api("GET", "runs/demo")["state"] == "paused"
        page.get_by_role("button", name="Resume demo").click()
        expect(page.get_by_role("button", name="Pause demo")).to_be_visible()
        assert site.api("GET", "runs/demo")["state"] == "running"


def test_an_edit_says_what_it_will_do_before_it_is_done_and_can_be_taken_back(site: Site, browser: Browser) -> None:
    before = site.api("GET", "runs/demo/config")
    with at(site, browser, "runs/demo/config") as page:
        page.get_by_label("Gamma").fill("0.97")
        page.get_by_role("button", name="Review…").click()
        dialog = page.get_by_role("dialog", name="What this will do")
        expect(dialog.get_by_text("algorithm.gamma")).to_be_visible()
        expect(dialog.get_by_text("nothing restarts")).to_be_visible()
        assert site.api("GET", "runs/demo/config") == before
        dialog.get_by_role("button", name="Apply").click()
        expect(page.get_by_text(f"Revision {before['revision'] + 1} is in force.")).to_be_visible()
        assert site.api("GET", "runs/demo/config")["config"]["algorithm"]["gamma"] == 0.97
        page.get_by_role("button", name="History").click()
        page.get_by_role("button", name=f"Go back to revision {before['revision']}", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Go back", exact=True).click()
        expect(page.get_by_text(f"is like revision {before['revision']}.")).to_be_visible()
        assert site.api("GET", "runs/demo/config")["config"] == before["config"]


def test_a_value_that_cannot_be_is_refused_beside_its_field(site: Site, browser: Browser) -> None:
    with at(site, browser, "runs/demo/config") as page:
        gamma = page.get_by_label("Gamma")
        gamma.fill("much")
        expect(page.get_by_text("expected a number")).to_be_visible()
        gamma.fill("1.5")
        page.get_by_role("button", name="Review…").click()
        changes = page.get_by_role("region", name="Changes")
        expect(changes.get_by_role("alert")).to_be_in_viewport()
        expect(gamma).to_have_attribute("aria-invalid", "true")
        expect(gamma).to_be_focused()
        expect(gamma).to_be_in_viewport()


@pytest.mark.parametrize("width", [360, 1280])
def test_a_refusal_is_seen_wherever_the_form_is_scrolled_to(site: Site, browser: Browser, width: int) -> None:
    with at(site, browser, "runs/demo/config", width=width) as page:
        gamma = page.get_by_label("Gamma")
        gamma.fill("much")
        changes = page.get_by_role("region", name="Changes")
        expect(changes).to_contain_text("Cannot be read yet: algorithm.gamma")
        gamma.fill("1.5")
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        expect(gamma).not_to_be_in_viewport()
        changes.get_by_role("button", name="Review…").click()
        expect(changes.get_by_role("alert")).to_be_in_viewport()
        expect(gamma).to_be_focused()
        expect(gamma).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        changes.get_by_role("button", name="Discard").click()
        expect(changes.get_by_role("alert")).to_have_count(0)


def test_an_edit_of_what_somebody_else_has_changed_meanwhile_is_kept(site: Site, browser: Browser) -> None:
    with at(site, browser, "runs/demo/config") as page:
        page.get_by_label("Tau").fill("0.03")
        revision = site.api("GET", "runs/demo/config")["revision"]
        site.api("PATCH", f"runs/demo/config?revision={revision}", {"algorithm": {"batch_size": 128}})
        page.get_by_role("button", name="Put my changes on top of it").click()
        page.get_by_role("button", name="Document").click()
        document = json.loads(page.get_by_label("The whole document as JSON").input_value())
        assert document["algorithm"]["batch_size"] == 128
        assert document["algorithm"]["tau"] == 0.03


def test_a_run_is_made_from_a_preset_copied_and_deleted(site: Site, browser: Browser) -> None:
    with at(site, browser, "runs") as page:
        page.get_by_role("button", name="New run").click()
        dialog = page.get_by_role("dialog", name="New run")
        dialog.get_by_label("Name").fill("second")
        dialog.get_by_role("combobox", name="Start").select_option("no")
        dialog.get_by_role("button", name="Make the run").click()
        expect(page.get_by_role("heading", name="second", exact=True)).to_be_visible()
        page.get_by_role("button", name="Copy…").click()
        page.get_by_role("dialog").get_by_role("button", name="Make the copy").click()
        expect(page.get_by_role("heading", name="second-2", exact=True)).to_be_visible()
        for name in ("second-2", "second"):
            page.goto(f"{site.url}/#/runs/{name}")
            expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
            page.get_by_role("button", name="Delete").click()
            page.get_by_role("dialog").get_by_role("button", name="Delete").click()
            expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    assert [run["name"] for run in site.api("GET", "runs")["items"]] == ["demo"]


def test_a_version_of_the_weights_is_downloaded_and_pinned(site: Site, browser: Browser) -> None:
    with at(site, browser, "runs/demo/weights") as page:
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the newest").click()
        assert download.value.suggested_filename.endswith(".safetensors")
        pin = page.get_by_role("button", name=re.compile("^Pin version")).first
        version = int(str(pin.get_attribute("aria-label")).split()[-1])
        pin.click()
        expect(page.get_by_role("button", name=f"Unpin version {version}", exact=True)).to_be_visible()
        assert version in [item["version"] for item in site.api("GET", "runs/demo/weights")["items"] if item["pinned"]]


def test_the_line_of_an_episode_is_shown(site: Site, browser: Browser) -> None:
    with at(site, browser, "runs/demo/episodes") as page:
        page.get_by_role("button", name=re.compile("Show the line")).first.click()
        expect(page.get_by_role("dialog").get_by_role("img", name=re.compile("Map of"))).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).not_to_be_visible()


def test_tracks_are_shown_with_who_drives_them_best(site: Site, browser: Browser) -> None:
    with at(site, browser, "tracks") as page:
        expect(page.get_by_role("heading", name="default")).to_be_visible()
        expect(page.get_by_role("img", name="The line of the track default")).to_be_visible()
        ranking = page.get_by_role("region", name="Who drives best: default")
        expect(ranking.get_by_role("link", name="demo")).to_be_visible()
        body = {
            "weights": {"name": "a friend's"},
            "track": "default",
            "environment": "tmrld/TM20Lidar-v0",
            "game": "sim",
            "episodes": [{"finished": True, "lap_time_s": 25.5, "steps": 510}],
        }
        site.api("POST", "evaluations", body)
        mine = ranking.get_by_role("row", name=re.compile("a friend's"))
        expect(mine).to_contain_text("25.500 s")
        mine.get_by_role("button", name="Take back the evaluation of a friend's").click()
        page.get_by_role("dialog").get_by_role("button", name="Take back").click()
        expect(mine).not_to_be_visible()


def test_a_track_is_uploaded_seen_and_deleted(site: Site, browser: Browser, tmp_path: Path) -> None:
    line = tmp_path / "My Oval.csv"
    line.write_text("\n".join(f"{100 * math.cos(a / 50)},0,{60 * math.sin(a / 50)}" for a in range(300)))
    with at(site, browser, "tracks") as page:
        page.get_by_label("File with the line of a track").set_input_files(line)
        expect(page.get_by_role("heading", name="my-oval")).to_be_visible()
        expect(page.get_by_role("img", name="The line of the track my-oval")).to_be_visible()
        page.get_by_role("button", name="Delete my-oval").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("heading", name="my-oval")).not_to_be_visible()
        line.write_text("no numbers at all")
        page.get_by_label("File with the line of a track").set_input_files(line)
        expect(page.get_by_text("is not a line of points")).to_be_visible()


def test_a_machine_is_examined_by_the_doctor(site: Site, browser: Browser) -> None:
    with at(site, browser, "fleet") as page:
        page.get_by_role("button", name="What the doctor says of local-worker").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("It looks at the machine")).to_be_visible()
        expect(dialog.get_by_role("heading", name="Disk")).to_be_visible(timeout=120_000)
        expect(dialog.get_by_role("img", name=re.compile("What the policy sees"))).to_be_visible()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_machines_are_invited_restarted_and_read_in_the_fleet(site: Site, browser: Browser) -> None:
    with at(site, browser, "fleet") as page:
        page.get_by_label("Role").select_option("trainer")
        page.get_by_role("button", name="Invite", exact=True).click()
        expect(page.get_by_label("Command that joins")).to_have_text(re.compile("^tmrld join "))
        page.get_by_role("button", name="Withdraw the invite of a trainer").click()
        expect(page.get_by_text("No invites.")).to_be_visible()
        page.get_by_role("button", name=re.compile("Restart the engine of .*worker")).click()
        expect(page.get_by_text(re.compile("The engine of .* restarts"))).to_be_visible()
        page.get_by_role("button", name="Log of the relay").click()
        expect(page.get_by_role("log").locator("p").first).to_be_visible()


def test_what_takes_room_is_shown_and_cleaned_up(site: Site, browser: Browser) -> None:
    def left() -> list[Path]:
        return [path for path in Layout(site.data).run_log("demo").iterdir() if path.suffix == ".damaged"]

    (Layout(site.data).run_log("demo") / "pruned.damaged").write_bytes(bytes(5000))
    with at(site, browser, "fleet") as page:
        table = page.get_by_role("region", name="What takes room")
        expect(table.get_by_role("row", name=re.compile("^demo"))).to_be_visible()
        expect(table.get_by_role("row", name="Leftovers 5 kB")).to_be_visible()
        page.get_by_role("button", name="Clean up…").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("relay/runs/demo/log/pruned.damaged")).to_be_visible()
        assert left()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        dialog.get_by_role("button", name=re.compile("^Free ")).click()
        expect(page.get_by_text(re.compile("are free again"))).to_be_visible()
        expect(table.get_by_role("row", name="Leftovers")).to_have_count(0)
    assert not left()


def test_an_engine_is_stopped_and_started_and_a_machine_given_to_a_run(site: Site, browser: Browser) -> None:
    def worker() -> Any:
        return next(node for node in site.api("GET", "nodes")["items"] if node["role"] == "worker")

    name = worker()["name"]
    with at(site, browser, "fleet") as page:
        page.get_by_label(f"Run that {name} works for").select_option("demo")
        expect(page.get_by_text(f"{name} works for demo.")).to_be_visible()
        assert worker()["assigned"] == "demo"
        page.get_by_label(f"Run that {name} works for").select_option("")
        expect(page.get_by_text(f"{name} works for any run.")).to_be_visible()
        assert worker()["assigned"] is None
        page.get_by_role("button", name=f"Stop the engine of {name}").click()
        await_that(lambda: worker()["state"] == "stopped", "the worker's engine has stopped")
        expect(page.get_by_text("was stopped by hand")).to_be_visible()
        page.get_by_role("button", name=f"Start the engine of {name}", exact=True).click()
        await_that(lambda: worker()["state"] == "driving", "the worker drives again")


def test_a_trainer_takes_a_run_over_once_that_was_confirmed(site: Site, browser: Browser, tmp_path: Path) -> None:
    def works_for(name: str) -> Any:
        return next((node["run"] for node in site.api("GET", "nodes")["items"] if node["name"] == name), None)

    def choose(page: Page) -> Any:
        page.get_by_label("Run that second works for").select_option("demo")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("the run demo is trained by local-trainer")).to_be_visible()
        return dialog

    site.join("trainer", "second", tmp_path)
    await_that(lambda: works_for("second") == "", "the second trainer is there, and has no run")
    with at(site, browser, "fleet") as page:
        choose(page).get_by_role("button", name="Cancel").click()
        expect(page.get_by_label("Run that second works for")).to_have_value("")
        assert works_for("local-trainer") == "demo"
        dialog = choose(page)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        dialog.get_by_role("button", name="Take over").click()
        expect(page.get_by_text("second trains demo now.")).to_be_visible()
    await_that(lambda: (works_for("second"), works_for("local-trainer")) == ("demo", ""), "the second one trains it")
    site.api("DELETE", "nodes/second")
    await_that(lambda: works_for("local-trainer") == "demo", "the first one trains it again")


def test_a_machine_that_joined_is_renamed_and_revoked(site: Site, browser: Browser, tmp_path: Path) -> None:
    invite = site.api("POST", "invites", {"role": "worker", "name": "spare"})["invite"]
    join = [sys.executable, "-m", "tmrld", "join", invite, "--no-start", "--config", str(tmp_path / "tmrld.toml")]
    subprocess.run([*join, "--data", str(tmp_path / "data")], check=True, capture_output=True)
    with at(site, browser, "fleet") as page:
        page.get_by_role("button", name="Rename spare").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("New name").fill("game-pc")
        dialog.get_by_role("button", name="Rename").click()
        expect(page.get_by_role("heading", name="game-pc")).to_be_visible()
        page.get_by_role("button", name="Revoke game-pc").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        expect(page.get_by_role("heading", name="game-pc")).not_to_be_visible()
    assert "game-pc" not in [token["name"] for token in site.api("GET", "tokens")["items"]]


def test_a_run_is_stopped_queued_and_started(site: Site, browser: Browser) -> None:
    def state(run: str) -> Any:
        return site.api("GET", f"runs/{run}")["state"]

    site.api("POST", "runs/demo/clone", {"name": "next"})
    with at(site, browser, "runs/next") as page:
        page.get_by_role("button", name="Queue next").click()
        await_that(lambda: state("next") == "queued", "it waits for the trainer")
        page.goto(f"{site.url}/#/runs/demo")
        page.get_by_role("button", name="Stop demo").click()
        await_that(lambda: (state("demo"), state("next")) == ("stopped", "running"), "the trainer goes on to the next run")
        page.goto(f"{site.url}/#/runs/next")
        page.get_by_role("button", name="Stop next").click()
        await_that(lambda: state("next") == "stopped", "it has stopped")
        page.goto(f"{site.url}/#/runs/demo")
        page.get_by_role("button", name="Start demo").click()
        await_that(lambda: state("demo") == "running", "the first run goes on")
    site.api("DELETE", "runs/next")


def test_the_page_goes_on_by_itself_and_without_gaps_after_the_relay_was_killed(site: Site, browser: Browser) -> None:
    with at(site, browser, "runs/demo/metrics") as page:
        expect(page.get_by_role("heading", name="Critics")).to_be_visible()
        page.evaluate("window.sameDocument = true")
        site.kill()
        expect(page.get_by_text("The relay does not answer.")).to_be_visible()
        before = "training_return"
        with page.expect_response(lambda response: f"names={before}" in response.url or "names=" in response.url) as fetched:
            site.start()
            expect(page.get_by_text("The relay does not answer.")).not_to_be_visible()
        assert fetched.value.ok
        chart = page.get_by_role("img", name=re.compile("^Critic loss"))
        label = chart.get_attribute("aria-label")
        assert label is not None
        expect(chart).not_to_have_attribute("aria-label", label)
        assert page.evaluate("window.sameDocument")
        shown = int(re.findall(r"(\d+) points", str(chart.get_attribute("aria-label")))[0])
        series = site.api("GET", "runs/demo/metrics?names=loss_critic")["series"][0]
        assert shown >= len(series["updates"]) - 5  # what came between the two looks


def test_whoever_is_revoked_is_signed_out_at_once(site: Site, browser: Browser) -> None:
    token = site.api("POST", "tokens", {"name": "guest", "scope": "viewer"})["token"]
    page = browser.new_context().new_page()
    page.goto(site.url)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    expect(page.get_by_role("button", name="New run")).not_to_be_visible()
    site.api("DELETE", "tokens/guest")
    expect(page.get_by_label("Token")).to_be_visible()
    page.context.close()


def test_an_empty_relay_explains_itself_and_offers_the_demo(site: Site, browser: Browser) -> None:
    site.api("POST", "runs/demo/stop")
    await_that(lambda: site.api("GET", "runs/demo")["state"] == "stopped", "the run has stopped")
    site.api("DELETE", "runs/demo")
    with at(site, browser, "runs") as page:
        expect(page.get_by_role("heading", name="Nothing is learning here yet")).to_be_visible()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.get_by_role("button", name="Start the demo run").click()
        expect(page.get_by_role("heading", name="demo", exact=True)).to_be_visible()
