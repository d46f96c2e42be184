"""`rigatoni explain`: every error by its id, with what to do."""

import pytest
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.config import installed_plugins
from rigatoni_ops.error_reference import explanations
from rigatoni_ops.explain import explain
from rigatoni_testing.commands import RecordingApplication

KNOWN = explanations(installed_plugins())


def printed(*arguments):
    app = RecordingApplication()
    explain.main([*arguments], prog_name="explain", standalone_mode=False, obj=app)
    return app


@pytest.mark.parametrize("name", ["position-lost", "PositionLostError", "position-lost-error"])
def test_an_error_is_explained_by_its_id_and_by_the_name_of_its_class(name):
    text = "\n".join(printed(name).output)
    assert text.startswith("position-lost (rigatoni-core): The source cannot resume from the saved position")
    assert "what to do: Inspect the record with `rigatoni state show`" in text
    assert "The operation is not retried." in text


def test_without_an_id_all_errors_are_listed():
    text = "\n".join(printed().output)
    for name in ("configuration", "lease-lost", "s3-throttled", "mongodb-privilege", "local-full", "not-kept"):
        assert name in text


def test_a_typo_is_answered_with_the_nearest_id():
    with pytest.raises(ConfigurationError, match='has an error "lost-position"; did you mean'):
        printed("lost-position")
    with pytest.raises(ConfigurationError, match="; did you mean lease-lost"):
        printed("lease-lsot")


def test_every_error_has_a_meaning_and_what_to_do():
    assert len(KNOWN) > 80
    for each in KNOWN.values():
        assert each.distribution.startswith("rigatoni-"), each
        assert each.meaning[0].isupper() or each.meaning[0] == "`", each
        assert each.meaning.endswith((".", "?")), each
        assert each.remedy[0].isupper(), each


def test_whether_an_error_is_retried_follows_from_its_type():
    assert KNOWN["s3-throttled"].retry == "The operation is retried."
    assert KNOWN["s3-access"].retry.startswith("At the start, the worker stops.")
    assert KNOWN["chain"].retry == "The operation is not retried."
