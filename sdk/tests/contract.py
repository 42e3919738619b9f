"""The contract as the repository's lexicons state it; silent where they are not at hand."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "lexicons" / "blue" / "catbird" / "mls"


def require_declared(method: str, verb: str, given: dict[str, Any]) -> None:
    """A request must be of the method's kind, name no unknown field and leave out no required one."""
    if not FOLDER.is_dir():
        return
    main = json.loads((FOLDER / f"{method}.json").read_text())["defs"]["main"]
    assert (verb == "POST") == (main["type"] == "procedure"), method
    shape = main["input"]["schema"] if verb == "POST" else main.get("parameters", {})
    unknown = set(given) - set(shape.get("properties", {}))
    absent = set(shape.get("required", [])) - set(given)
    assert (unknown, absent) == (set(), set()), method
