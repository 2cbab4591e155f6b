"""Languages: the codes of ISO 639-2 that containers carry, as the BCP 47 tags that playlists want."""

from __future__ import annotations

import re
from typing import Final

_PAIRS: Final = (
    "aa:aar ab:abk ae:ave af:afr ak:aka am:amh an:arg ar:ara as:asm av:ava ay:aym az:aze ba:bak be:bel bg:bul "
    "bh:bih bi:bis bm:bam bn:ben bo:bod/tib br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre cs:ces/cze cu:chu "
    "cv:chv cy:cym/wel da:dan de:deu/ger dv:div dz:dzo ee:ewe el:ell/gre en:eng eo:epo es:spa et:est eu:eus/baq "
    "fa:fas/per ff:ful fi:fin fj:fij fo:fao fr:fra/fre fy:fry ga:gle gd:gla gl:glg gn:grn gu:guj gv:glv ha:hau "
    "he:heb hi:hin ho:hmo hr:hrv ht:hat hu:hun hy:hye/arm hz:her ia:ina id:ind ie:ile ig:ibo ii:iii ik:ipk io:ido "
    "is:isl/ice it:ita iu:iku ja:jpn jv:jav ka:kat/geo kg:kon ki:kik kj:kua kk:kaz kl:kal km:khm kn:kan ko:kor "
    "kr:kau ks:kas ku:kur kv:kom kw:cor ky:kir la:lat lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lu:lub lv:lav "
    "mg:mlg mh:mah mi:mri/mao mk:mkd/mac ml:mal mn:mon mr:mar ms:msa/may mt:mlt my:mya/bur na:nau nb:nob nd:nde "
    "ne:nep ng:ndo nl:nld/dut nn:nno no:nor nr:nbl nv:nav ny:nya oc:oci oj:oji om:orm or:ori os:oss pa:pan pi:pli "
    "pl:pol ps:pus pt:por qu:que rm:roh rn:run ro:ron/rum ru:rus rw:kin sa:san sc:srd sd:snd se:sme sg:sag si:sin "
    "sk:slk/slo sl:slv sm:smo sn:sna so:som sq:sqi/alb sr:srp ss:ssw st:sot su:sun sv:swe sw:swa ta:tam te:tel "
    "tg:tgk th:tha ti:tir tk:tuk tl:tgl tn:tsn to:ton tr:tur ts:tso tt:tat tw:twi ty:tah ug:uig uk:ukr ur:urd "
    "uz:uzb ve:ven vi:vie vo:vol wa:wln wo:wol xh:xho yi:yid yo:yor za:zha zh:zho/chi zu:zul "
)
"""Two letters, and the three-letter codes (terminological / bibliographic) of the same language: ISO 639-2."""

_NAMES: Final = (
    "ar Arabic,bg Bulgarian,ca Catalan,cs Czech,da Danish,de German,el Greek,en English,es Spanish,et "
    "Estonian,fa Persian,fi Finnish,fr French,he Hebrew,hi Hindi,hr Croatian,hu Hungarian,id Indonesian,is "
    "Icelandic,it Italian,ja Japanese,ko Korean,lt Lithuanian,lv Latvian,nb Norwegian Bokmål,nl Dutch,no "
    "Norwegian,pl Polish,pt Portuguese,ro Romanian,ru Russian,sk Slovak,sl Slovenian,sr Serbian,sv Swedish,th "
    "Thai,tr Turkish,uk Ukrainian,vi Vietnamese,zh Chinese"
)
_TAG: Final = re.compile(r"^[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*$")
UNKNOWN: Final = "und"


def is_tag(text: str) -> bool:
    """Return whether `text` has the form of a BCP 47 tag."""
    return _TAG.match(text) is not None


def bcp47(code: str | None) -> str:
    """Return the shortest tag for a container's language code (`eng`, `ger`, `pt-BR`); `und` when it says none."""
    if not code or not is_tag(code):
        return UNKNOWN
    head, dash, rest = code.partition("-")
    return _shortest().get(head.lower(), head.lower()) + dash + rest


def name_of(tag: str) -> str:
    """Return what people call the language of a tag, or the tag where we know no name."""
    names = dict(pair.split(" ", 1) for pair in _NAMES.split(","))
    return names.get(tag.partition("-")[0], "Unknown" if tag == UNKNOWN else tag)


def _shortest() -> dict[str, str]:
    table: dict[str, str] = {}
    for pair in _PAIRS.split():
        two, _, threes = pair.partition(":")
        table |= dict.fromkeys(threes.split("/"), two)
    return table
