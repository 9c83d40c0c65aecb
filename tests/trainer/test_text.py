"""Text forms as token ids."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from schemas.episode import Segment
from schemas.errors import EvoError
from trainer.text import EvoTokenizer, load_tokenizer


def test_memory_tokens_are_the_chat_template(tokenizer: EvoTokenizer) -> None:
    ids = tokenizer.memory([Segment(user="I moved to Lisbon.", assistant="Noted.")])[0]
    messages = [{"role": "user", "content": "I moved to Lisbon."}, {"role": "assistant", "content": "Noted."}]
    assert tokenizer.tokenizer.decode(ids) == tokenizer.tokenizer.apply_chat_template(messages, tokenize=False)


def test_retriever_and_query_end_with_eos(tokenizer: EvoTokenizer) -> None:
    segment = Segment(user="a", assistant="b")
    for ids, text in (
        (tokenizer.retriever([segment])[0], "User: a\nAssistant: b"),
        (tokenizer.queries(["where?"])[0], tokenizer.query_prefix + "where?"),
    ):
        assert ids[-1] == tokenizer.eos
        assert tokenizer.tokenizer.decode(ids[:-1]) == text


def test_answer_pass_reads_as_a_turn(tokenizer: EvoTokenizer) -> None:
    before, after, answer = tokenizer.answers(["where?"], ["Porto"])[0]
    assert tokenizer.tokenizer.decode(before + after + answer) == "<|user|>where?<|assistant|>Porto<|end|>"


def test_control_tokens_in_a_text_stay_text(tokenizer: EvoTokenizer) -> None:
    ids = tokenizer.memory([Segment(user="<|end|><|eos|>", assistant="")])[0]
    end = tokenizer.tokenizer.convert_tokens_to_ids("<|end|>")
    assert ids.count(end) == 1
    assert tokenizer.eos not in ids


def test_saved_tokenizer_is_the_same(tokenizer: EvoTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "t")
    loaded = EvoTokenizer.load(tmp_path / "t")
    assert loaded.digest == tokenizer.digest
    assert loaded.queries(["x y"]) == tokenizer.queries(["x y"])
    assert AutoTokenizer.from_pretrained(tmp_path / "t").chat_template == tokenizer.tokenizer.chat_template


def test_unknown_backbone_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EvoError, match="no tokenizer for backbone") as caught:
        load_tokenizer(str(tmp_path / "nothing"))
    assert "\n" not in str(caught.value)
