"""Fixtures: `site` is a whole site of real processes for one test module (see postbus_test/site.py)."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from postbus_test.site import SERVICES, Site  # noqa: E402


@pytest.fixture(scope="module")
def site():
    """All services of mx.alpha.test, with no mail domain yet."""
    s = Site()
    try:
        s.start(*SERVICES)
    except BaseException:
        for name in list(s.processes):
            s.kill(name)
        raise
    yield s
    s.end()


@pytest.fixture(scope="module")
def bare_site():
    """NATS and Redis with our Functions only; tests start the services they want with bare_site.start(…)."""
    s = Site()
    yield s
    s.end()
