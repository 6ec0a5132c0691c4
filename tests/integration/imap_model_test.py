"""Random commands of several IMAP clients against a plain model of the folders (postbus_test/imap_model.py). POSTBUS_MODEL_STEPS: steps of each run; POSTBUS_MODEL_SEEDS: how many runs;
POSTBUS_MODEL_SEED: the first seed, or random (a failure tells its seed); POSTBUS_MODEL_KILL: also kills imapd and mailbox in the middle; POSTBUS_MODEL_LOG: a file that
gets what all clients said and heard until a failure."""
import os
import random

import pytest

from postbus_test.imap_model import Model
from postbus_test.site import Site

STEPS = int(os.environ.get("POSTBUS_MODEL_STEPS", 1500))
SEED = os.environ.get("POSTBUS_MODEL_SEED", "1")
FIRST = random.randrange(1, 10**6) if SEED == "random" else int(SEED)
SEEDS = int(os.environ.get("POSTBUS_MODEL_SEEDS", 2))
KILL = os.environ.get("POSTBUS_MODEL_KILL", "")


@pytest.fixture(scope="module")
def site():
    s = Site(tap=False)
    s.start("accounts", "mailbox", "imapd", "imapd@2")
    yield s
    if not KILL:
        s.end()


@pytest.mark.parametrize("run", range(SEEDS))  # not the seeds: all processes of a test run must find the same tests
def test_random_commands_of_many_clients(site, run):
    seed = FIRST + run
    user = f"model{seed}@alpha.test"
    site.add_account(user, "correct horse 1")
    model = Model(site, user, "correct horse 1", seed, kill=["imapd", "imapd@2", "mailbox"] if KILL else None)
    print(f"seed {seed}: {STEPS} steps")
    print(model.run(STEPS))
