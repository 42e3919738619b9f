import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest
from stand_in import StandIn

import catbird

README = Path(__file__).parents[1] / "README.md"


def test_the_first_example_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    transport = StandIn().transport()

    def on_the_stand_in(path: str, *, server: str, auth: catbird.Auth) -> catbird.Client:
        return catbird.Client(tmp_path / path, server, auth, transport=transport)

    monkeypatch.setattr(catbird, "open", on_the_stand_in)
    example = re.search(r"```python\n(.*?)asyncio\.run", README.read_text(), re.DOTALL)
    assert example is not None
    scope: dict[str, Any] = {}
    exec(compile(example.group(1), str(README), "exec"), scope)  # noqa: S102 - the file beside this test
    asyncio.run(scope["main"]())
    assert capsys.readouterr().out.endswith("did:plc:alicealicealicealicealic shall we?" + os.linesep)
