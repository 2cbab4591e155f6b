"""The page of templates: their fields, their names, and the language of conditions."""

from __future__ import annotations

from typing import Final

from model_tables import field_table, table

from worker.core.schedule import ScheduleDocument
from worker.core.template import Case, TemplateDocument, Variable
from worker.media.conditions import FACTS

HEAD: Final = """\
A template is a JSON document. `leveret templates put NAME FILE` checks and stores it as the next version of its name;
the same document again makes no new version. A job keeps what it was made from.

```jsonc
{
  "description": "What it makes.",
  "variables": {
    "title": {"kind": "name", "default": "{{ source.stem }}"},
    "crf": {"kind": "number", "cases": [{"when": "video.height > 1080", "value": "24"}], "default": "22"}
  },
  "when": "video.count > 0",
  "promise": ["video.codec in ['hevc', 'av1']"],
  "job": {
    "job_title": "{{ title }}",
    "destination": "{{ source.folder }}/h265/",
    "tasks": [
      {"module": "ffmpeg", "data": {
        "sources": ["{{ source.uri }}"],
        "source_maps": [{"specifier": "v"}, {"when": "audio.count > 0", "specifier": "a"}],
        "output_maps": [{"specifier": "v", "options": {"codec": "libx265", "crf": "{{ crf }}"}},
                        {"when": "audio.count > 0", "specifier": "a", "options": {"codec": "copy"}}],
        "output_file": "./{{ title }}.mkv"}},
      {"when": "duration > 10min", "module": "thumbnail", "data": {
        "source": "{{ source.uri }}", "output_file": "./{{ title }}.jpg"}}
    ]
  }
}
```
"""
LANGUAGE: Final = """\
## What `{{ … }}` may hold

A name, and filters after it: `{{ source.stem|lower|truncate(40) }}`. The filters are `name` (a safe part of a path),
`slug`, `lower`, `upper`, `title`, `trim`, `replace('a', 'b')` and `truncate(40)`. There are no statements, calls or
operators. The document is JSON before it is filled, so a value stays a part of one text: it becomes neither a key nor a
list. Only a variable of the kind `number` that stands alone becomes a number. Keys and modules hold no `{{ … }}`.

Names are the facts below, `date` (`2026-11-27`) and `time` (`14-05`) of the server that makes the job, and the
variables; a default may use the variables before it. A name without a value for a source is an error that names it.

A variable of the kind `text` may not be in a path: whoever gives it could choose the folder. `put` refuses that, and
says which: make it a `name`, or write `{{ title|name }}`.

## Conditions

`when` chooses sources (of the whole template), tasks, and any object in a list of a task's data: a map, a track, a
rendition. `promise` is what a source holds that needs no work. A variable's `cases` choose its value.

| | |
|---|---|
| comparisons | `video.height >= 720`, `video.codec == 'h264'`, `video.hdr == false` |
| lists | `'en' in audio.languages`, `video.codec in ['hevc', 'av1']`, `'fr' not in audio.languages` |
| together | `and`, `or`, `not`, `( … )`; `not` binds first, `or` last |
| units | `90s`, `10min`, `2h`, `700MB`, `4GiB`, `8M` |

Codecs and languages are normalised: `h265` is hevc, `eng` is en and means `en-US` too. A comparison with a fact that
the source does not have is false, with `!=` too; `not` makes it true. A number is compared with a number, a text with a
text: anything else is refused when the template is stored.

## Facts
"""


def template_page() -> list[str]:
    """Return the lines of the page."""
    facts = [(f"`{name}`", fact.kind.value, fact.description) for name, fact in FACTS.items()]
    return [
        "# Templates",
        "",
        *HEAD.strip().splitlines(),
        "",
        "## Fields",
        "",
        *field_table(TemplateDocument),
        "",
        "### Variable",
        "",
        *field_table(Variable),
        "",
        "### Case",
        "",
        *field_table(Case),
        "",
        *LANGUAGE.strip().splitlines(),
        "",
        *table(("Name", "Is", "Means"), facts),
        "",
        "## Schedules",
        "",
        "`leveret schedules put NAME` stores these fields; `PUT /api/v1/schedules/NAME` takes them as they are.",
        "",
        *field_table(ScheduleDocument),
    ]
