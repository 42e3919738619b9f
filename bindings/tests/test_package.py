"""The package itself: codes, versions, documentation, and a build without the client half."""

import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import openmls
import pytest
from openmls import client, delivery
from openmls._native import _panic  # type: ignore[import-not-found]

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.rs"))


def test_the_readme_explains_every_code() -> None:
    explained = set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert explained == openmls.ERROR_CODES


def test_every_code_is_raised_somewhere() -> None:
    table = (ROOT / "src" / "error.rs").read_text().split("codes! {")[1]
    names = re.findall(r"^    (\w+) = ", table, re.MULTILINE)
    assert len(names) == len(openmls.ERROR_CODES)
    others = "".join(path.read_text() for path in SOURCES if path.name != "error.rs")
    assert [name for name in names if f"Code::{name}" not in others] == []


def test_the_stubs_name_only_codes_that_exist() -> None:
    families = {code.split(".")[0] for code in openmls.ERROR_CODES}
    for stub in (ROOT / "python" / "openmls").glob("*.pyi"):
        for named in re.findall(r"``([a-z_]+\.[a-z_*]+)``", stub.read_text()):
            family, name = named.split(".")
            if family in families and not named.endswith(".delivery"):
                assert name == "*" or named in openmls.ERROR_CODES or family == "openmls", named


def test_versions() -> None:
    manifest = (ROOT / "Cargo.toml").read_text()
    versions = openmls.versions()
    assert f'openmls = "={versions["openmls"]}"' in manifest
    assert f'version = "{versions["openmls-py"]}"' in manifest
    assert versions["features"] == "client"


def test_an_error_survives_pickling() -> None:
    with pytest.raises(openmls.MlsError) as caught:
        delivery.peek(b"")
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - pickled on this line
    assert (again.code, again.detail, again.retryable) == ("decode.truncated", caught.value.detail, False)
    assert str(again) == str(caught.value)


@pytest.mark.parametrize("module", [delivery, client])
def test_everything_public_is_documented_and_where_it_says(module: object) -> None:
    for name in module.__all__:  # type: ignore[attr-defined]
        thing = getattr(module, name)
        assert thing.__doc__, name
        if isinstance(thing, type):
            assert thing.__module__ == module.__name__  # type: ignore[attr-defined]


@pytest.mark.parametrize("data", ["text", None, 7, bytearray(b"x"), [1]])
def test_only_bytes_are_bytes(data: object) -> None:
    with pytest.raises(TypeError):
        delivery.peek(data)  # type: ignore[arg-type]


def test_values_cannot_be_changed() -> None:
    limits = delivery.Limits()
    with pytest.raises(AttributeError):
        limits.max_members = 3  # type: ignore[misc]


def test_a_panic_becomes_an_error_and_prints_nothing(
    refused: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert refused(_panic) == "internal.panic"
    assert capfd.readouterr() == ("", "")


WITHOUT_CLIENT = """
import openmls._native as native
for name in ("Client", "Group", "Signer"):
    delattr(native, name)
import openmls.delivery
try:
    import openmls.client
except ImportError as error:
    print(error)
"""


def test_a_build_without_the_client_half_says_so() -> None:
    command = [sys.executable, "-c", WITHOUT_CLIENT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - the program above
    assert "without its client half" in done.stdout
    assert done.stderr == ""
