import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from catbird_mls import embedded


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that any user may pass through, unlike those pytest makes for root."""
    parent = Path(tempfile.mkdtemp(prefix="catbird-test-", dir="/var/tmp"))
    parent.chmod(0o711)
    yield parent / "data"
    embedded.forget(parent / "data")
    shutil.rmtree(parent)
