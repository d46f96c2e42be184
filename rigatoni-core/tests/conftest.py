"""Core knows no format: what tests the loop runs with two of them."""

import pytest
from rigatoni_testing.batches import BSON, TEXT, using

LOOP = (
    *("test_assignment", "test_found_gaps", "test_idle_advance", "test_leases", "test_listeners", "test_pipeline"),
    *("test_recovery", "test_rejection_policy", "test_statistics", "test_time_limit", "test_transactional"),
    "test_worker",
)


def pytest_generate_tests(metafunc):
    if metafunc.module.__name__.rpartition(".")[2] in LOOP:
        metafunc.fixturenames.append("raw_format")
        metafunc.parametrize("raw_format", [BSON, TEXT], ids=lambda each: each.format, indirect=True)


@pytest.fixture
def raw_format(request):
    """The format that the test's source yields."""
    with using(request.param):
        yield request.param
