"""Label selectors: what kubectl takes, what it matches, and what is refused."""

import pytest

from trainlet.kube.selectors import Requirement, matches, parse_selector

LABELS = {"app": "mnist", "tier": "gold", "example.com/size": "7", "empty": ""}


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "  ",
        "app=mnist",
        "app==mnist",
        " app = mnist , tier = gold ",
        "app!=cifar",
        "missing!=anything",
        "app in (cifar, mnist)",
        "app in(mnist)",
        "app notin (cifar)",
        "missing notin (cifar)",
        "app",
        "app,tier",
        "!missing",
        "!missing,app=mnist",
        "empty=",
        "empty in (x,)",
        "empty",
        "example.com/size>6",
        "example.com/size<8",
    ],
)
def test_selectors_that_match(selector: str) -> None:
    assert matches(parse_selector(selector), LABELS)


@pytest.mark.parametrize(
    "selector",
    [
        "app=cifar",
        "app!=mnist",
        "app=mnist,tier=silver",
        "app in (cifar)",
        "app notin (mnist,cifar)",
        "missing",
        "missing=",
        "missing in (x)",
        "!app",
        "example.com/size>7",
        "example.com/size<7",
        "app>1",
        "missing<1",
    ],
)
def test_selectors_that_do_not_match(selector: str) -> None:
    assert not matches(parse_selector(selector), LABELS)


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("app=mnist,", "the end"),
        (",app", "','"),
        ("=mnist", "'='"),
        ("app mnist", "'mnist'"),
        ("app=mnist tier=gold", "'tier'"),
        ("app in mnist", "'mnist'"),
        ("app in (mnist", "the end"),
        ("app in (a b)", "'b'"),
        ("app=(mnist)", "'('"),
        ("!app=mnist", "'='"),
        ("app>many", "'many'"),
        ("app>", "'>'"),
        ("Example.com/app", "'Example.com/app'"),
        ("a/b/c", "'a/b/c'"),
        ("-app", "'-app'"),
        ("app=-x", "'-x'"),
        ("app=" + "x" * 64, "x" * 64),
    ],
)
def test_what_is_no_selector_is_refused_with_the_word_that_is_wrong(selector: str, found: str) -> None:
    with pytest.raises(ValueError, match="is not a label selector") as refused:
        parse_selector(selector)
    assert found in str(refused.value)


def test_words_for_operators_may_be_keys_and_values() -> None:
    assert parse_selector("in in (notin)") == (Requirement("in", "In", frozenset({"notin"})),)


def test_requirements_read_as_match_expressions() -> None:
    assert parse_selector("a,!b,c!=d") == (
        Requirement("a", "Exists"),
        Requirement("b", "DoesNotExist"),
        Requirement("c", "NotIn", frozenset({"d"})),
    )
