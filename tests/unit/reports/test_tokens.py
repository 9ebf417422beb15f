import os
import socket
import tempfile
from pathlib import Path

import pytest
import tiktoken

from gistline.errors import SettingsError
from gistline.reports import tokens
from gistline.reports.tokens import TokenCounter, ceiling


def test_counts_are_those_of_cl100k() -> None:
    counter = TokenCounter()
    assert counter.estimate("") == 0
    assert counter.estimate("hello world") == 2
    # The sentence and its count are those of the article that the encodings were measured against.
    assert counter.estimate("发现两处缺陷，左侧区域存在长度约45像素的划痕，右下角零件缺失。") == 38


def test_control_tokens_in_a_text_are_plain_text() -> None:
    assert TokenCounter().estimate("<|endoftext|>") > 1


def test_loading_needs_neither_network_nor_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = dict(os.environ)
    made = tiktoken.Encoding(**tokens._recipe())
    assert made.name == "cl100k_base"
    assert made.n_vocab == 100_277
    assert list(tmp_path.iterdir()) == []
    assert dict(os.environ) == before


def test_damaged_ranks_are_refused_with_both_digests() -> None:
    with pytest.raises(SettingsError, match=r"SHA-256 223921b7.*tiktoken pins 0000"):
        tokens._read_ranks("", "0000")


@pytest.mark.parametrize(("text", "tokens_"), [("", 16), ("a", 18), ("abcd", 21), ("é", 19), ("x" * 1000, 1266)])
def test_the_ceiling_is_a_rule_of_bytes(text: str, tokens_: int) -> None:
    assert ceiling(text) == tokens_
