import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openmls import ERROR_CODES, MlsError

# The tests import each other's tools, whatever directory pytest was started in.
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "fuzz")]


@pytest.fixture
def refused() -> Callable[..., str]:
    """Call it and give the code of the refusal."""

    def code(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
        with pytest.raises(MlsError) as caught:
            call(*args, **kwargs)
        error = caught.value
        assert error.code in ERROR_CODES
        assert str(error) == f"{error.code}: {error.detail}"
        return error.code

    return code
