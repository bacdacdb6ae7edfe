"""A refused configuration is told in words that somebody understands who has never heard of the validator."""

from __future__ import annotations

from typing import Any

import pytest

from carnet.configerrors import sentence


def error(kind: str, *loc: int | str, **ctx: Any) -> dict[str, Any]:
    return {"type": kind, "loc": loc, "msg": "Input should be something", "ctx": ctx}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (error("missing", "mqtt", "host"), "mqtt.host: this key is missing"),
        (error("int_type", "mqtt", "port"), "mqtt.port: write a whole number, without quotes"),
        (error("missing", "bus", 1, "name"), "second [[bus]], name: this key is missing"),
        (error("missing", "recipient", 0, "webhook", "url"), "first [[recipient]], url: this key is missing"),
        (error("extra_forbidden", "recipient", 11, "file", "pth"), "12th [[recipient]], pth: there is no such key"),
        (
            error("union_tag_invalid", "recipient", 1, discriminator="'kind'", tag="mqqt", expected_tags="'a', 'b'"),
            "second [[recipient]]: kind: write one of 'a', 'b'",
        ),
        (error("string_type", "catalogue", "mappings", 2), "catalogue.mappings, third value: write a text in quotes"),
        (error("string_pattern_mismatch", "x", pattern="^a$"), "x: write an a"),
        (error("string_pattern_mismatch", "x", pattern="^b$"), "x: Input should be something"),
        (error("value_error", "x"), "x: Input should be something"),
        (error("greater_than_equal", "x", ge=1), "x: write 1 or more"),
    ],
)
def test_what_is_wrong_is_said_in_words(found: dict[str, Any], words: str) -> None:
    assert sentence([found], ("webhook", "file"), {"^a$": "an a"}) == words


def test_a_key_that_nobody_knows_is_told_before_the_one_that_it_should_have_been() -> None:
    assert sentence([error("missing", "a", "port"), error("extra_forbidden", "a", "prot")]) == (
        "a.prot: there is no such key"
    )
