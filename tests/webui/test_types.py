"""The page means by each answer what the API means by it."""

import subprocess
from pathlib import Path

import pytest

from tests.webui import api_types


@pytest.fixture(autouse=True)
def _tools() -> None:
    if not api_types.GENERATOR.is_file():
        pytest.fail(f"{api_types.GENERATOR} is missing: `make page` fetches what the page is made with")


def test_the_types_are_those_of_the_openapi_document(tmp_path: Path) -> None:
    assert api_types.TYPES.read_text() == api_types.generated(tmp_path), "the API has changed: run `make types`"


def test_the_page_uses_them_as_they_are() -> None:
    compiler = api_types.WEBUI / "node_modules" / "typescript" / "bin" / "tsc"
    checked = subprocess.run([api_types.NODE, compiler, "--noEmit"], cwd=api_types.WEBUI, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
