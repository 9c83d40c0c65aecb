"""Words and segments of every script: spaces are put nowhere, and a word of letters and marks stays whole."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evoembedding.schemas.configs import ClozeConfig
from evoembedding.synth.cloze import cloze
from evoembedding.synth.curation.decontaminate import Benchmarks
from evoembedding.synth.curation.deduplicate import NearDuplicates
from evoembedding.synth.curation.shingles import Words
from evoembedding.synth.documents import document
from evoembedding.synth.text import joined, length, normalise, sentences, tokens, unspaced, windows, words
from evoembedding.synth.verification import verify

CHINESE = "港口日志\n\n" + "".join(
    f"渡船第{n}天早上九点离开港口，船长名叫马罗。船票{n}枚硬币！岛上有两座码头，北码头关闭到杜松日；「南码头挂着灯笼。」"
    for n in "一二三四五六七八九"
)
JAPANESE = "港の日誌\n\n" + "渡し船は九時に港を出る。船長の名はマロである。\n切符は銅貨四枚。島には桟橋が二つある。" * 9
THAI = "บันทึกท่าเรือ\n\n" + "เรือข้ามฟากออกจากท่าเวลาเก้าโมงเช้ากัปตันชื่อมาโรตั๋วราคาสี่เหรียญเกาะนี้มีสองท่าน้ำ" * 9
KHMER = "សាឡាងចេញពីកំពង់ផែនៅម៉ោងប្រាំបួន។" * 20
BURMESE = "ကူးတို့သင်္ဘောသည်ကိုးနာရီတွင်ဆိပ်ကမ်းမှထွက်ခွာသည်။" * 20
GENE = "Gene " + "ACGT" * 400 + ". It was read in Quillon."
HINDI = "नाव सुबह नौ बजे बंदरगाह छोड़ती है। कप्तान का नाम मारो है। टिकट की कीमत चार सिक्के है। " * 3
ARABIC = "تُغَادِرُ العَبَّارَةُ المِينَاءَ فِي التَّاسِعَةِ. هَلْ اِسْمُ القُبْطَانِ مَارُو؟ ثَمَنُ التَّذْكِرَةِ أَرْبَعُ قِطَعٍ. "
DENSE = {"zh": CHINESE, "ja": JAPANESE, "th": THAI, "km": KHMER, "my": BURMESE, "gene": GENE}


@pytest.mark.parametrize("text", DENSE.values(), ids=DENSE)
def test_segments_are_of_the_windows_length_and_the_text_is_unchanged(text: str) -> None:
    units = sentences(text, 60)
    assert joined([word for unit in units for word in unit]) == text.rstrip()
    cut = [joined([word for i in run for word in units[i]]) for run in windows([len(u) for u in units], 60, 15)]
    assert len(cut) > 1
    for segment in cut:
        assert segment in text
        assert length(segment) <= 60
        assert not unicodedata.category(segment[0]).startswith("M"), "a mark was cut from its letter"
    assert sum(length(segment) for segment in cut[:-1]) >= 30 * (len(cut) - 1)


@pytest.mark.parametrize(
    "text", [*DENSE.values(), CHINESE + " Tide tables of Quillon were kept by Fenwick in 1931. " * 2]
)
def test_cloze_asks_for_no_letter_and_no_clause_of_such_scripts(text: str) -> None:
    for draft in cloze(document("one", text), ClozeConfig()):
        assert all(verdict.passed for verdict in verify(draft, set()).verdicts)
        for question in draft.questions:
            assert not unspaced(question.answer)
            assert length(question.answer) == 1
            assert len(question.answer) > 1 or question.answer.isdigit()


def test_a_question_of_nothing_but_a_blank_is_neither_asked_nor_accepted() -> None:
    (draft,) = cloze(
        document("one", "Ferdinand built the harbour. It burned down in autumn. Nine years went by."), ClozeConfig()
    )
    for text in ('Complete the statement: "____"', 'Which word completes "____."?', 'Fill in the blank: "«____» …"'):
        asked = draft.questions[0].replace(text=text)
        (verdict,) = [v for v in verify(draft.replace(questions=(asked,)), set()).verdicts if not v.passed][:1]
        assert verdict.reason == "the statement is nothing but its blank"
    headings = "\n\n".join(["Abstract", "Motivation", "Rationale", "Backwards", "Reference", "Copyright"])
    for made in cloze(document("two", headings), ClozeConfig()):
        assert not made.questions


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("नाव सुबह, बंदरगाह!", ["नाव", "सुबह", "बंदरगाह"]),
        ("هَلْ اِسْمُ؟", ["هَلْ", "اِسْمُ"]),
        (unicodedata.normalize("NFD", "café où"), [unicodedata.normalize("NFD", w) for w in ("café", "où")]),
        ("İstanbul x² ____", ["İstanbul", "x²", "____"]),
        ("渡船 in 港", ["渡", "船", "in", "港"]),
        ("가나다 라마", ["가나다", "라마"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("❤️ ️", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_texts_compare_in_any_normal_form() -> None:
    assert normalise(unicodedata.normalize("NFD", "Café")) == normalise("café") == " café "
    assert normalise("码头") in normalise("岛上有两座码头，")
    assert normalise("art") not in normalise("Bart")


@pytest.mark.parametrize("text", [HINDI, ARABIC * 3])
def test_scripts_with_marks_give_whole_words_and_sentences(text: str) -> None:
    units = sentences(text, 60)
    assert len(units) == 9
    assert joined([word for unit in units for word in unit]) == text.rstrip()
    for draft in cloze(document("one", text + "यह पुस्तक दिल्ली में छपी थी और उसका मूल्य सौ रुपये था।"), ClozeConfig()):
        assert all(question.answer in text.split() or " " not in question.answer for question in draft.questions)


def test_english_is_cut_as_ever() -> None:
    text = "One  two\nthree. Four five!  Six\n\nseven eight nine ten"
    assert [joined(unit) for unit in sentences(text, 3)] == [
        "One two three.",
        "Four five!",
        "Six",
        "seven eight nine",
        "ten",
    ]


def test_tokens_of_such_scripts_are_about_their_characters() -> None:
    assert tokens("渡船早上九点") == 6
    assert tokens("the ferry, at nine") == 5
    assert tokens("Ferry渡船") == 3


@given(st.text(st.one_of(st.characters(), st.sampled_from("渡船。「」กข่ क्षि a.\n ")), max_size=200), st.integers(1, 30))
@settings(max_examples=300, deadline=None)
def test_no_character_but_space_is_lost_or_put_in(text: str, longest: int) -> None:
    units = sentences(text, longest)
    assert "".join("".join(word for unit in units for word in unit).split()) == "".join(text.split())
    assert all(0 < len(unit) <= longest for unit in units)
    assert normalise(text).strip() == "" or words(text)


def test_near_duplicates_and_leaks_are_found_in_scripts_without_spaces(tmp_path: Path) -> None:
    changed = CHINESE.replace("第五天早上", "第五日清晨")
    other = "山谷里的磨坊每逢春天才开工，磨坊主把面粉装进麻袋送到集市。" + "冬天河水结冰，水车停转，大家修补工具。"
    found = NearDuplicates(0.7, 5)
    found.add(["a", "b", "c"], [CHINESE, changed, other])
    assert set(found.twins()) == {"b"}
    file = tmp_path / "b.txt"
    file.write_text(other)
    benchmarks = Benchmarks([str(file)], 13)
    leak, clean, chance = benchmarks.shared([f"他说：{other[5:40]}", CHINESE, "磨坊主把面粉装进麻袋"])
    assert leak
    assert not clean
    assert not chance  # ten characters are not thirteen words
    assert Words.of(["渡船早上九点"]).lengths.tolist() == [3.0]
