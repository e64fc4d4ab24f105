"""The filter language, case by case and by property."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_kiln.dataset.errors import BadFilter
from lora_kiln.dataset.filters import DEEPEST, FIELDS, NUMBERS, STATES, TEXTS, about_tokens, compile_filter, quote
from lora_kiln.dataset.tags import tag_key
from lora_kiln.dataset.values import Box, Record


def record(*tags: str, name: str = "front.png", **changes: Any) -> Record:
    return Record(
        image=Path(f"/pictures/9_kierose/{name}").absolute(), **{"size": (832, 1216), "tags": tags, **changes}
    )


ROSE = record("kie rose", "1girl", "long hair", "hair ribbon", ":)", "manhattan cafe (umamusume)", group="Kie Rose")
CROP = record(
    "1girl", "close-up", crop=Box(left=0, top=0, right=100, bottom=100), origin=("crop:face of front.png",), repeats=3
)
PROSE = record(name="a photo.jpg", prose="A girl, smiling, stands in the rain.", size=(1024, 512), is_reg=True)
BARE = record(name="bare.tar.png", size=(512, 512), pruned=("blue eyes",), weight=0.5, mask=Path("/m.png").absolute())
ALL = {"rose": ROSE, "crop": CROP, "prose": PROSE, "bare": BARE}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "rose crop prose bare"),
        ("  ", "rose crop prose bare"),
        ("1girl", "rose crop"),
        ("Long_Hair", "rose"),
        ("hair", ""),
        ("*hair", "rose"),
        ("hair*", "rose"),
        ("*hair*", "rose"),
        ("1girl AND long hair", "rose"),
        ("1girl, long hair", "rose"),
        ("1girl AND NOT long hair", "crop"),
        ("1girl, -long hair", "crop"),
        ("-(long hair OR close-up)", "prose bare"),
        ("NOT 1girl OR close-up", "crop prose bare"),
        ("NOT (1girl OR close-up)", "prose bare"),
        ("NOT NOT 1girl", "rose crop"),
        ("close-up OR 1girl AND long hair", "rose crop"),
        ("(close-up OR 1girl) AND long hair", "rose"),
        ("(1girl)AND(long hair)", "rose"),
        ('":)"', "rose"),
        ("tag::\\)", "rose"),
        ("manhattan cafe (umamusume)", "rose"),
        (r"manhattan cafe \(umamusume\)", "rose"),
        ("manhattan cafe (*)", "rose"),
        ("manhattan cafe (umamusume) AND (1girl)", "rose"),
        ('"1girl" OR "long hair"', "rose crop"),
        ('"*hair"', ""),
        (r"\*hair", ""),
        ("group:kie rose", "rose"),
        ("group:kie*", "rose"),
        ('group:""', "crop prose bare"),
        ("name:front.png", "rose crop"),
        ("name:front", "rose crop"),
        ("name:A PHOTO", "prose"),
        ("name:bare.tar", "bare"),
        ("name:*.jpg OR name:bare*", "prose bare"),
        ("path:9_kierose", "rose crop prose bare"),
        ("caption:smiling", "prose"),
        ("caption:girl*rain", "prose"),
        ("caption:\\*", ""),
        ("origin:crop:face", "crop"),
        ("pruned:blue*", "bare"),
        ("size:1024x512", "prose"),
        ("size:*x1216", "rose"),
        ("width:100", "crop"),
        ("width:>832", "prose"),
        ("width:>=832", "rose prose"),
        ("height: < 512", "crop"),
        ("height:!=512", "rose crop"),
        ("short:100..512", "crop prose bare"),
        ("long:1024..", None),
        ("area:<=1e4", "crop"),
        ("aspect:2/1", "prose"),
        ("aspect:<1", "rose"),
        ("repeats:>1", "crop"),
        ("weight:0.5", "bare"),
        ("tags:0", "prose bare"),
        ("tags:>2", "rose"),
        ("chars:0", "bare"),
        ("tokens:>10 AND NOT is:prose", "rose"),
        ("is:reg", "prose"),
        ("is:captioned", "rose crop prose"),
        ("is:prose", "prose"),
        ("is:crop", "crop"),
        ("is:masked", "bare"),
        ("is:derived", "crop"),
        ("is:pruned", "bare"),
        ("is:portrait", "rose"),
        ("is:landscape", "prose"),
        ("is:square", "crop bare"),
    ],
)
def test_what_passes(text: str, found: str | None) -> None:
    if found is None:
        with pytest.raises(BadFilter):
            compile_filter(text)
        return
    passes = compile_filter(text)
    assert [name for name, one in ALL.items() if passes(one)] == found.split()


@pytest.mark.parametrize("face", ["(o)_(o)", ">_<", "^_^", ":d", "-_-", "|_|"])
def test_faces_need_no_quotes(face: str) -> None:
    for text in (face, f"1girl AND {face}", f"({face} OR hat)", f"{face}, 1girl"):
        assert compile_filter(text)(record("1girl", face)), text
        assert not compile_filter(text)(record("1girl")), text


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("1girl AND", 9, "a tag or a field is missing"),
        ("AND 1girl", 0, "a tag or a field is missing"),
        ("1girl OR OR hat", 9, "a tag or a field is missing"),
        ("1girl,, hat", 6, "a tag or a field is missing"),
        ("()", 1, "a tag or a field is missing"),
        ("(1girl", 0, "never closed"),
        ("1girl)", 5, "closes nothing"),
        (":)", 1, "closes nothing"),
        ("hat :(", 5, "never closed"),
        ("hat NOT shoes", 4, "without AND or OR"),
        ("hat (shoes OR socks)", 4, "missing before this ("),
        ("hat (shoes, socks)", 4, "missing before this ("),
        ('"hat', 0, "never closed"),
        ('"hat" shoes', 6, "words follow"),
        ("(hat) shoes", 6, "words follow"),
        ('hat AND ""', 8, "nothing is quoted"),
        ("group:", 0, "nothing stands after group:"),
        ("hat AND grop:kie", 8, "no field grop"),
        ("re:zero", 0, "tag:re:"),
        ("width:big", 0, "'big' is not a number"),
        ("width:>", 0, "is not a number"),
        ("width:1/0", 0, "is not a number"),
        ("width:nan", 0, "is not a number"),
        ("width:5*", 0, "'5*' is not a number"),
        ("is:red", 0, "nothing is 'red'"),
        ("(" * (DEEPEST + 1) + "a" + ")" * (DEEPEST + 1), DEEPEST, "parentheses are open"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, place: int, words: str) -> None:
    with pytest.raises(BadFilter) as caught:
        compile_filter(text)
    assert caught.value.place == place
    assert words in str(caught.value)
    assert repr(text) in str(caught.value)


def test_terms_count_for_themselves() -> None:
    passes = compile_filter('1girl AND (group:kie* OR -"long hiar")')
    counts = {text: sum(test(one) for one in ALL.values()) for text, test in passes.terms}
    assert counts == {"1girl": 2, "group:kie*": 1, '"long hiar"': 0}


def test_tokens_are_counted_by_whoever_is_asked() -> None:
    assert compile_filter("tokens:36", len)(PROSE)
    assert not compile_filter("tokens:36")(PROSE)
    assert about_tokens("") == 0
    assert about_tokens("1girl, long hair") == 5


def test_every_field_and_state_has_its_words() -> None:
    assert set(FIELDS) == {*TEXTS, *NUMBERS, "tokens", "is"}
    assert all(words for words, _ in (*TEXTS.values(), *NUMBERS.values(), *STATES.values()))


def test_many_stars_on_a_long_caption_take_no_time() -> None:
    passes = compile_filter("caption:" + "a*" * 40 + "b")
    started = time.perf_counter()
    assert not passes(record(prose="a" * 20_000))
    assert time.perf_counter() - started < 2


# --- properties ------------------------------------------------------------------------------------------------------

WORDS = ("hat", "long hair", "1girl", "cafe (city)", "o_o", "a-b")
TAG = st.text(min_size=1, max_size=8).filter(lambda t: tag_key(t) != "" and "," not in t and "\n" not in t)
TREES = st.recursive(
    st.sampled_from(WORDS),
    lambda inner: st.one_of(st.tuples(st.just("NOT"), inner), st.tuples(st.sampled_from(("AND", "OR")), inner, inner)),
    max_leaves=12,
)


def written(tree: Any, pick: random.Random) -> str:
    """A tree as text, with more parentheses and spaces than are needed, or fewer."""
    if isinstance(tree, str):
        return pick.choice((tree, quote(tree), f"tag:{tree}", f"({tree})"))
    space = pick.choice((" ", "  ", "\n"))
    if tree[0] == "NOT":
        return pick.choice((f"NOT{space}({written(tree[1], pick)})", f"-({written(tree[1], pick)})"))
    return f"({written(tree[1], pick)}){space}{tree[0]}{space}({written(tree[2], pick)})"


def truth(tree: Any, tags: set[str]) -> bool:
    if isinstance(tree, str):
        return tree in tags
    if tree[0] == "NOT":
        return not truth(tree[1], tags)
    left, right = truth(tree[1], tags), truth(tree[2], tags)
    return (left and right) if tree[0] == "AND" else (left or right)


@given(TREES, st.sets(st.sampled_from(WORDS)), st.randoms(use_true_random=False))
def test_a_filter_means_what_its_tree_means(tree: Any, tags: set[str], pick: random.Random) -> None:
    assert compile_filter(written(tree, pick))(record(*tags)) is truth(tree, tags)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(WORDS)), min_size=1, max_size=4), st.sets(st.sampled_from(WORDS))
)
def test_and_binds_more_than_or_without_parentheses(parts: list[tuple[bool, str]], tags: set[str]) -> None:
    words = [f"{'NOT ' if negative else ''}{word}" for negative, word in parts]
    passes = [(word in tags) is not negative for negative, word in parts]
    assert compile_filter(" AND ".join(words))(record(*tags)) is all(passes)
    assert compile_filter(" OR ".join(words))(record(*tags)) is any(passes)
    both = f"{words[0]} AND {words[-1]} OR {words[0]}"
    assert compile_filter(both)(record(*tags)) is passes[0]


@given(TAG, TAG)
def test_a_quoted_tag_finds_itself_and_nothing_else(tag: str, other: str) -> None:
    passes = compile_filter(quote(tag))
    assert passes(record(tag))
    assert passes(record(other)) is (tag_key(tag) == tag_key(other))
    assert compile_filter(f"NOT {quote(tag)} OR tag:{quote(tag)}")(record(other))


@given(st.text(alphabet=st.one_of(st.sampled_from('()",:-*\\<>= .ANDORT'), st.characters()), max_size=40))
def test_any_text_is_a_filter_or_says_where_it_is_none(text: str) -> None:
    try:
        passes = compile_filter(text)
    except BadFilter as error:
        assert 0 <= error.place <= len(text)  # noqa: PT017 - either ending is fine
    else:
        assert isinstance(passes(ROSE), bool)
