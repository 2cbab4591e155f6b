"""Subtitle files as cues: what people wrote is what players show."""

from __future__ import annotations

import gc
import time
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.core.errors import BadInput
from worker.media.subtitles import MAX_CUES, parse_subtitles
from worker.media.subtitles.charset import decode, is_charset, transcode_to_utf8
from worker.media.webvtt import MAX_CUE_CHARACTERS, Cue, CueError, TimedText, parse_webvtt, render_cues, segment_cues

STAMPS = "00:00:01,000 --> 00:00:02,000"
SCRIPT = """[Script Info]
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, Bold, Italic, Underline, StrikeOut, Alignment
Style: Default,Arial,16,&H00FFFFFF,0,0,0,0,2
Style: Top,Arial,16,&H0000FFFF,-1,0,0,0,8

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def srt(*texts: str) -> TimedText:
    blocks = [f"{number}\n{STAMPS}\n{text}\n" for number, text in enumerate(texts, 1)]
    return parse_subtitles("\n".join(blocks).encode(), "a.srt")


def shown(text: str) -> tuple[str, str]:
    (cue,) = srt(text).cues
    return cue.text, cue.settings


def ass(*lines: str) -> TimedText:
    """Return the cues of lines `style|text`, from second 1 to 2."""
    events = [f"Dialogue: 0,0:00:01.00,0:00:02.00,{'{},,0,0,0,,{}'.format(*line.split('|', 1))}" for line in lines]
    return parse_subtitles((SCRIPT + "\n".join(events)).encode(), "a.ass")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("I <3 you", "I &lt;3 you"),
        ("if a < b && c > d", "if a &lt; b &amp;&amp; c &gt; d"),
        ("<laughs> AT&T and R&B", "&lt;laughs&gt; AT&amp;T and R&amp;B"),
        ("arrow --> arrow", "arrow --&gt; arrow"),
        ("<b>bold</b> &amp; &lt;plain&gt;", "<b>bold</b> &amp; &lt;plain&gt;"),
        ('<font color="#ff0000">red</font> x', "<c.red>red</c> x"),
        ("<font color=#ff8800>orange</font>", "<c.colour-ff8800>orange</c>"),
        ("<i>both\nlines</i>", "<i>both\nlines</i>"),
        ("<i>never closed", "<i>never closed</i>"),
        ("closed</b> only", "closed only"),
        ("first\n\nthird after a blank line", "first\nthird after a blank line"),
        ("{not a tag} <3 <", "{not a tag} &lt;3 &lt;"),
        ("{\\i1}slanted{\\i0} not", "<i>slanted</i> not"),
        ("&unknown; &#10; &#x1F600;", "&amp;unknown; &amp;#10; \U0001f600"),
        ("a\x00b\x07", "ab"),
    ],
)
def test_subrip_is_shown_as_it_is_written(written: str, text: str) -> None:
    assert shown(written) == (text, "")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{\\an8}top", ("top", "line:0")),
        ("{\\an1}left", ("left", "align:left")),
        ("{\\an6}right", ("right", "line:50% align:right")),
        ("{\\an8}{\\pos(192,144)}here", ("here", "line:50% position:50% align:center")),
        ("{\\pos(96,288)}below", ("below", "line:94% position:25% align:center")),
    ],
)
def test_positions_of_subrip_are_kept(written: str, expected: tuple[str, str]) -> None:
    assert shown(written) == expected


def test_a_number_that_is_said_is_no_counter_of_the_next_cue() -> None:
    found = parse_subtitles(f"1\n{STAMPS}\nThe answer:\n42\n\n2\n{STAMPS}\n43\n".encode(), "a.srt")
    assert [cue.text for cue in found.cues] == ["The answer:\n42", "43"]


def test_cues_without_numbers_blank_lines_or_hours_are_read() -> None:
    text = "00:01,5 --> 00:02,000\r\none\r\n2\r\n0:00:03.000 --> 0:00:04.000\r\ntwo"
    assert parse_subtitles(text.encode(), "a.srt").cues == (Cue(1.5, 2.0, "one"), Cue(3.0, 4.0, "two"))


@pytest.mark.parametrize(
    "times",
    [
        "00:00:01,000 -> 00:00:02,000",
        "00:00:01,000 \u2013> 00:00:02,000",
        "00:00:01,000 \u2192 00:00:02,000",
        "00\uff1a00\uff1a01\uff0c000 --> 00\uff1a00\uff1a02\uff0c000",
        "00: 00: 01, 000 --> 00: 00: 02, 000",
        "00 : 00 : 01 , 000-->00 : 00 : 02 , 000",
    ],
)
def test_times_that_programs_and_word_processors_spoil_are_read(times: str) -> None:
    found = parse_subtitles(f"1\n{STAMPS}\none\n\n2\n{times}\ntwo\n".encode(), "a.srt")
    assert found.cues == (Cue(1.0, 2.0, "one"), Cue(1.0, 2.0, "two"))


def test_a_cue_that_begins_before_the_film_is_shown_from_its_begin() -> None:
    text = "1\n-00:00:01,500 --> 00:00:02,000\nhalf\n\n2\n-00:00:05,000 --> -00:00:04,000\nbefore\n"
    assert parse_subtitles(text.encode(), "a.srt") == TimedText((Cue(0.0, 2.0, "half"),))


UNREAD = {
    "srt": f"1\n{STAMPS}\none\n\n2\n00:00:-1,000 --> 00:00:02,000\ntwo\n\n3\n00:00:05,000 --> 00:00:04,000\nthree\n",
    "vtt": "WEBVTT\n\nNOTE a --> b\n\n00:01.000 --> 00:02.000\none\n\n00:03,000 --> 00:04,000\ntwo\n\n"
    "3\n00:06.000 --> 00:05.000\nthree\n\n00:06.000 --> 00:07.000\n",
    "ass": SCRIPT + "".join(
        f"Dialogue: 0,{times},Default,,0,0,0,,{text}\n"
        for times, text in (
            ("0:00:01.00,0:00:02.00", "one"), ("0:00:x,0:00:02.00", "two"), ("0:00:05.00,0:00:04.00", "three"),
            ("0:00:05.00,0:00:05.00", ""),
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", UNREAD)
def test_cues_without_times_that_can_be_read_are_counted_and_are_no_text_of_others(form: str) -> None:
    found = parse_subtitles(UNREAD[form].encode(), form)
    assert (found.cues, found.unread) == ((Cue(1.0, 2.0, "one"),), 2)


def test_subtitles_of_whose_cues_none_can_be_read_are_bad_input() -> None:
    with pytest.raises(BadInput, match="no cue has times"):
        parse_subtitles(b"WEBVTT\n\n00:01,000 --> 00:02,000\none\n", "a.vtt")


def test_a_text_that_is_transparent_to_its_end_is_no_cue() -> None:
    (cue,) = ass("Default|{\\alpha&HFF&}copies {\\alpha&H00&}shown{\\alpha&HFF&} hidden{\\r} again").cues
    assert cue.text == "shown again"
    (cue,) = ass("Default|{\\alpha&HFF&\\t(0,200,\\alpha&H00&)}fades in").cues
    assert cue.text == "fades in"


def test_a_drawing_is_no_text() -> None:
    drawing = "Default|{\\an7\\pos(10,10)\\p1}m 0 0 l 100 0 100 100 0 100{\\p0}"
    assert ass(drawing).cues == ()
    (cue,) = ass("Default|{\\p1}m 0 0 l 9 9{\\p0}and a word").cues
    assert cue.text == "and a word"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Default|{\\an8}at the top", ("at the top", "line:0")),
        ("Top|by its style", ("<c.yellow><b>by its style</b></c>", "line:0")),
        ("Top|{\\rDefault}plain", ("plain", "line:0")),
        ("Default|{\\a6}an older top", ("an older top", "line:0")),
        ("Default|{\\an7\\pos(96,72)}sign", ("sign", "line:25% position:25% align:left")),
        ("Default|{\\an8\\move(192,0,10,10,0,500)}moved", ("moved", "line:0% position:50% align:center")),
        ("Default|one\\Ntwo\\hthree, four", ("one\ntwo\u00a0three, four", "")),
        ("Default|{\\b700}fat{\\b0} {\\i1}slanted", ("<b>fat</b> <i>slanted</i>", "")),
        ("Default|{\\c&H0000FF&}red{\\c} none", ("<c.red>red</c> none", "")),
        ("Default|{\\fad(100,100)\\blur2\\bord3\\be1\\t(0,500,\\fs30\\b1)}x < y & {", ("x &lt; y &amp; {", "")),
        ("Default|\\{braces\\}", ("{braces}", "")),
        ("Default|{a comment}word", ("word", "")),
    ],
)
def test_styles_and_positions_of_substation_are_kept_where_webvtt_can_say_them(
    line: str, expected: tuple[str, str]
) -> None:
    (cue,) = ass(line).cues
    assert (cue.text, cue.settings) == expected


def test_shadows_and_comments_of_substation_are_no_second_cue() -> None:
    found = ass("Default|sign", "Top|{\\r\\an2\\b0\\c&HFFFFFF&}other", "Default|sign")
    assert [cue.text for cue in found.cues if cue.text == "sign"] == ["sign"]
    hidden = SCRIPT + "Comment: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,hidden\n"
    assert parse_subtitles(hidden.encode(), "a.ass").cues == ()


def test_old_substation_has_alignments_of_its_own() -> None:
    text = (
        "[Script Info]\n[V4 Styles]\nFormat: Name, PrimaryColour, Bold, Alignment\nStyle: *Default,16777215,0,6\n"
        "[Events]\nFormat: Marked, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
        "Dialogue: Marked=0,0:00:01.00,0:00:02.50,*Default,,0,0,0,,up there\n"
    )
    assert parse_subtitles(text.encode(), "a.ssa").cues == (Cue(1.0, 2.5, "up there", "line:0"),)


def test_a_webvtt_keeps_its_cues_settings_styles_and_regions() -> None:
    text = (
        "WEBVTT\n\nSTYLE\n::cue(.loud) { color: red }\n\nREGION\nid:fred\nwidth:40%\n\nNOTE a note\n\n"
        "intro\n00:00:01.000 --> 00:00:02.000 line:10% align:start region:fred evil:1\n"
        "<c.loud>Loud</c> &lt;laughs&gt; &amp; more\n\n00:00:03.000 --> 00:00:04.000\n<v Anna>Hi there</v>\n"
        "00:05.000 --> 00:06.000\n<ruby>a<rt>b</rt></ruby> I <3 you && <font size=3>c</font>\n"
    )
    found = parse_subtitles(text.encode(), "a.vtt")
    assert found.blocks == ("STYLE\n::cue(.loud) { color: red }", "REGION\nid:fred\nwidth:40%")
    assert found.cues == (
        Cue(1.0, 2.0, "<c.loud>Loud</c> &lt;laughs&gt; &amp; more", "line:10% align:start region:fred"),
        Cue(3.0, 4.0, "<v Anna>Hi there</v>"),
        Cue(5.0, 6.0, "<ruby>a<rt>b</rt></ruby> I &lt;3 you &amp;&amp; c"),
    )
    assert parse_webvtt(render_cues(found.cues, first_tick=0, blocks=found.blocks)) == found


def test_a_style_that_fetches_something_is_left_out() -> None:
    text = "WEBVTT\n\nSTYLE\n::cue { background: URL (http://example.com/x) }\n\n00:01.000 --> 00:02.000\nx\n"
    assert parse_webvtt(text) == TimedText((Cue(1.0, 2.0, "x"),))


def test_colours_and_strokes_bring_their_style() -> None:
    found = srt("<font color='#FF8800'>orange</font> <s>not</s>")
    assert found.cues[0].text == "<c.colour-ff8800>orange</c> <c.strike>not</c>"
    rules = "::cue(.colour-ff8800) { color: #ff8800 }\n::cue(.strike) { text-decoration: line-through }"
    assert found.blocks == (f"STYLE\n{rules}",)


@example("\x0c", "srt")
@example("\x0c", "ass")
@example("\x0c", "vtt")
@example("\xa0", "vtt")
@given(st.text(max_size=200), st.sampled_from(["srt", "ass", "vtt"]))
def test_one_cue_stays_one_cue_with_any_text(text: str, form: str) -> None:
    head = {
        "srt": f"1\n{STAMPS}\n",
        "ass": SCRIPT + "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,",
        "vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\n",
    }[form]
    try:
        found = parse_subtitles((head + text).encode(errors="replace"), "a")
    except BadInput:
        return
    for cue in found.cues:
        assert "-->" not in cue.text
        assert "\n\n" not in cue.text
        assert cue.text.strip()
    assert len(parse_webvtt(render_cues(found.cues, blocks=found.blocks)).cues) == len(found.cues)


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("cp1252", "Günstig, ça va très bien"),
        ("cp1251", "Привет, как дела? Хорошо."),
        ("cp932", "こんにちは世界"),
        ("cp1250", "Příliš žluťoučký kůň úpěl"),
        ("utf_16_le", "no mark at all"),
    ],
)
def test_subtitles_that_are_no_utf_8_are_refused_with_their_likely_charset(charset: str, text: str) -> None:
    data = f"1\n{STAMPS}\n{text}\n".encode(charset)
    with pytest.raises(BadInput, match=rf'a\.srt is not UTF-8; it looks like {charset}.*"charset": "{charset}"'):
        parse_subtitles(data, "a.srt")
    assert parse_subtitles(data, "a.srt", charset).cues[0].text == text


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_charset(charset: str) -> None:
    data = f"1\r\n{STAMPS}\r\nÜber alles\r\n".encode(charset)
    assert parse_subtitles(data, "a.srt").cues[0].text == "Über alles"
    assert parse_subtitles(data, "a.srt", "cp1252").cues[0].text == "Über alles"
    assert transcode_to_utf8(data, "a.srt", None) == f"1\n{STAMPS}\nÜber alles\n".encode()


def test_a_charset_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match=r"a\.srt is not ascii; it looks like cp1252"):
        decode("Günstig".encode("cp1252"), "a.srt", "ascii")


def test_utf_8_is_read_as_such_and_stays_as_it_is() -> None:
    data = "Größe".encode()
    assert decode(data, "a.srt", "cp1252") == "Größe"
    assert transcode_to_utf8(data, "a.srt", "cp1252") is None
    assert transcode_to_utf8(b"plain", "a.srt", "cp1252") is None


@pytest.mark.parametrize("name", ["klingon", "rot13", "hex", "idna", "utf-16evil", "cp1252\n", "", "../x", "a" * 90])
def test_an_unknown_charset_is_refused(name: str) -> None:
    assert not is_charset(name)


def test_a_file_without_cues_is_bad_input() -> None:
    with pytest.raises(BadInput, match="neither SubRip, SubStation nor WebVTT"):
        parse_subtitles(b"just a letter\nto a friend\n", "a.srt")


def test_cues_are_bounded() -> None:
    line = "00:00:01,000 --> 00:00:02,000\nx{}\n"
    data = "".join(line.format(number) for number in range(MAX_CUES + 1)).encode()
    with pytest.raises(BadInput, match=f"{MAX_CUES + 1} cues"):
        parse_subtitles(data, "a.srt")


def test_20000_cues_that_last_the_whole_film_are_refused_before_they_take_memory() -> None:
    text = "".join(f"{n}\n00:00:00,{n % 999:03d} --> 00:10:00,000\n{'x' * 60} {n}\n\n" for n in range(20_000))
    found = parse_subtitles(text.encode(), "a.srt")
    gc.collect()
    tracemalloc.start()
    with pytest.raises(CueError, match="32 MiB"):
        segment_cues(found.cues, [6.0] * 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20


DIALOGUE = "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,"
ONE_LONG_LINE = ["{", "{}a", "\\{", r"{\b1}a{\b0}b", "<", "<b>x</b>", "<font ", r"{\an", "&", "x"]


@pytest.mark.parametrize("piece", ONE_LONG_LINE)
@pytest.mark.parametrize("head", [SCRIPT + DIALOGUE, f"1\n{STAMPS}\n"], ids=["ass", "srt"])
def test_a_line_of_a_megabyte_is_refused_before_its_tags_are_read(head: str, piece: str) -> None:
    text = head + piece * ((1 << 20) // len(piece))
    with pytest.raises(BadInput, match=r"one cue has \d+ characters"):
        parse_subtitles(text.encode(), "a")


@pytest.mark.parametrize("piece", ONE_LONG_LINE)
def test_a_line_of_tags_and_braces_that_a_cue_may_have_is_read(piece: str) -> None:
    line = piece * (MAX_CUE_CHARACTERS // len(piece) - 2) + "}b"
    found = parse_subtitles((SCRIPT + DIALOGUE + line).encode(), "a.ass")
    assert len(found.cues) == 1


@pytest.mark.parametrize(
    ("head", "line", "most"),
    [
        ("[Script Info]\n[V4+ Styles]\n", "Style: {}\n", "styles"),
        ("", "00:00:01,000 --> 00:00:02,000\n{}\n", "cues"),
        (SCRIPT, DIALOGUE + "{}\n", "cues"),
        ("WEBVTT\n\n", "00:01.000 --> 00:02.000\n{}\n\n", "cues"),
        ("WEBVTT\n\n", "STYLE\n{}\n\n", "lines"),
        (SCRIPT, "{}\n", "lines"),
    ],
)
def test_lines_styles_and_cues_are_counted_before_they_take_memory(head: str, line: str, most: str) -> None:
    data = (head + "".join(line.format(number) for number in range(600_000 if most == "lines" else 130_000))).encode()
    with pytest.raises(BadInput, match=rf"more than \d+ {most}"):
        parse_subtitles(data, "a")


def test_a_cue_over_a_border_is_in_both_segments() -> None:
    cue = Cue(5.0, 12.0, "x")
    assert segment_cues([cue], [6.0, 6.0, 6.0]) == ((cue,), (cue,), ())


@pytest.mark.parametrize("piece", ["1", "1 ", " ", ":", "1:", "- ", "->", "1->", "1: ,"])
def test_a_long_line_that_is_nearly_times_takes_no_longer_than_others(piece: str) -> None:
    line = f"1{piece * 1000} --> 1{piece * 1000}x"
    begun = time.process_time()
    parse_subtitles(f"1\n{STAMPS}\nHello\n\n{line}\n{line}\n".encode(), "a.srt")
    assert time.process_time() - begun < 5
