"""What every unit test must not leave behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_hidden_fault(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The hooks log a fault of their own instead of stopping the app; a test does not let it pass."""
    yield
    hidden = [
        record for record in caplog.get_records("call") if "failed beside a Streamlit call" in record.message
    ]
    assert not hidden, hidden[0].exc_text
