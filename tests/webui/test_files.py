"""The page's files as they are sent: cached, compressed, and allowed to load nothing from elsewhere."""

import asyncio
import gzip
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tmrld.control.page import CONTENT_SECURITY_POLICY, FOLDER, page_routes

MOST_BYTES = 150_000
SCRIPT = "/assets/index-Abc123.js"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>tmrld</title>")
    (tmp_path / SCRIPT[1:]).write_text("console.log(1);" * 100)
    return tmp_path


def get(folder: Path, path: str, **headers: str) -> httpx.Response:
    app = FastAPI()
    app.include_router(page_routes(folder))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return asyncio.run(ask())


def test_the_page_may_load_what_is_ours_and_nothing_else(folder: Path) -> None:
    answer = get(folder, "/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert policy == CONTENT_SECURITY_POLICY
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_files_named_after_their_content_are_kept_for_good_and_the_page_is_asked_for_each_time(folder: Path) -> None:
    assert "immutable" in get(folder, SCRIPT).headers["cache-control"]
    assert get(folder, "/").headers["cache-control"] == "no-cache"


def test_a_browser_that_has_it_is_told_so(folder: Path) -> None:
    etag = get(folder, "/").headers["etag"]
    again = get(folder, "/", if_none_match=etag)
    assert again.status_code == 304
    assert again.content == b""


def test_files_are_compressed_for_those_who_can_read_that(folder: Path) -> None:
    packed = get(folder, SCRIPT, accept_encoding="gzip, br")
    assert packed.headers["content-encoding"] == "gzip"
    plain = get(folder, SCRIPT, accept_encoding="identity")
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content  # httpx has unpacked it


def test_where_it_is_not_built_the_page_says_how_to(tmp_path: Path) -> None:
    answer = get(tmp_path, "/")
    assert answer.status_code == 503
    assert "make page" in answer.text


def test_nothing_outside_the_folder_is_sent(folder: Path) -> None:
    assert get(folder, "/../secret").status_code == 404
    assert get(folder, "/assets/").status_code == 404


def test_scripts_and_styles_are_small() -> None:
    built = [file for file in FOLDER.rglob("*") if file.suffix in (".js", ".css")]
    if not built:
        pytest.fail("the page is not built: `make page` builds it")
    assert sum(len(gzip.compress(file.read_bytes())) for file in built) <= MOST_BYTES


def test_the_page_names_no_other_host() -> None:
    index = FOLDER / "index.html"
    if not index.is_file():
        pytest.fail("the page is not built: `make page` builds it")
    text = index.read_text()
    assert "//" not in text
    assert "<style" not in text
    assert "style=" not in text
