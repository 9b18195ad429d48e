"""`parametrize_with_checks`: one test a promise, chosen by `-k`, and failures that are expected."""

from __future__ import annotations

import pytest

from anytimenet.nets import create_net
from anytimenet.testing import CHECKS, parametrize_with_checks

pytest_plugins = "pytester"

NET = """
    from anytimenet.nets import create_net
    from anytimenet.nets.slices.isresnext import ISResNeXt
    from anytimenet.testing import parametrize_with_checks

    class Broken(ISResNeXt):
        def parts(self):
            return super().parts()[1:]

    def tiny(kind=ISResNeXt):
        return kind((4,), slices=(1, 1), width=8, branch_width=2, blocks=(1,))

    @parametrize_with_checks({"sound": tiny, "lossy": lambda: tiny(Broken)}, (3, 8, 8), export=False%s)
    def test_contract(check):
        check()
"""


def run(pytester, given, *arguments):
    pytester.makepyfile(NET % given)
    return pytester.runpytest("-q", "-p", "no:cacheprovider", *arguments)


def test_a_promise_of_a_net_is_chosen_by_name(pytester):
    result = run(pytester, "", "-k", "sound and state_spec")
    result.assert_outcomes(passed=1, deselected=2 * (len(CHECKS) - 1) - 1)


def test_a_broken_promise_fails_its_own_test_only(pytester):
    run(pytester, "", "-k", "lossy and (forward or parts_cover)").assert_outcomes(
        passed=1, failed=1, deselected=2 * (len(CHECKS) - 1) - 2
    )


def test_an_expected_failure_is_one_and_must_be_one(pytester):
    given = ', expected_failures={"parts cover": "loses a part"}'
    result = run(pytester, given, "-k", "parts_cover")
    result.assert_outcomes(xfailed=1, failed=1, deselected=2 * (len(CHECKS) - 2))
    result.stdout.fnmatch_lines(["*sound-parts_cover*", "*XPASS(strict)*loses a part*"])


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"state specs": "why"}, "no promise is named 'state specs'.*state spec"),
        ({"state spec": ""}, "the reason of the expected failure 'state spec'"),
    ],
)
def test_an_expected_failure_names_a_promise_and_a_reason(expected, message):
    with pytest.raises(ValueError, match=message):
        parametrize_with_checks([], (3, 8, 8), expected_failures=expected)


def test_nets_of_a_list_are_named_by_their_class_or_builder():
    net = create_net("isresnext_tiny")

    def mine():
        return net

    mark = parametrize_with_checks([net, mine, mine], (3, 8, 8))
    names = {param.id.rpartition("-")[0] for param in mark.args[1] if param.id.endswith("-forward")}
    assert names == {"ISResNeXt", "mine", "mine3"}


def test_no_net_of_a_list_takes_the_place_of_another_of_its_name():
    net = create_net("isresnext_tiny")

    def builder(name):
        def build():
            return net

        build.__name__ = name
        return build

    nets = [builder(name) for name in ("Net3", "Net", "Net")]
    mark = parametrize_with_checks(nets, (3, 8, 8))
    assert len({param.id for param in mark.args[1]}) == 3 * len(CHECKS)
