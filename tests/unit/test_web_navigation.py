"""The bar of the page, and the tabs of the screens that share a subject."""

from __future__ import annotations

from tests.support.web import site
from worker.core.job import TaskSpec
from worker.web.access import Principal
from worker.web.pages import navigation
from worker.web.pages.navigation import Entry, bar, tabs
from worker.web.pages.new import EXAMPLES

SHELF = (
    Entry("/", "Now"),
    Entry("/new", "New", "operator", (Entry("/new", "Message", "operator"), Entry("/shelf", "Shelf", "operator"))),
    Entry("/settings", "Settings", "admin", (Entry("/settings", "Options", "admin"),)),
)


def test_the_bar_and_its_tabs_hold_what_a_role_may_open():
    viewer, operator, admin = (Principal("anna", role).may for role in ("viewer", "operator", "admin"))
    assert [link.path for link in bar("/", viewer, SHELF)] == ["/"]
    assert [link.path for link in bar("/", operator, SHELF)] == ["/", "/new"]
    assert [link.path for link in bar("/", admin, SHELF)] == ["/", "/new", "/settings"]
    assert [(link.path, link.current) for link in bar("/shelf", operator, SHELF)] == [("/", False), ("/new", True)]
    assert [(link.path, link.current) for link in tabs("/shelf", operator, SHELF)] == [
        ("/new", False),
        ("/shelf", True),
    ]
    assert tabs("/shelf", viewer, SHELF) == []


def test_a_subject_of_one_screen_and_a_screen_of_none_have_no_tabs():
    admin = Principal("anna", "admin").may
    assert tabs("/settings", admin, SHELF) == tabs("/login", admin, SHELF) == tabs("/", admin, SHELF) == []


async def test_every_link_of_the_bar_and_of_the_tabs_leads_to_a_screen(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        for entry in navigation.SCREENS:
            for link in (entry, *entry.tabs):
                answer = await client.get(link.path)
                assert answer.status_code == 200, link.path
                assert f'href="{entry.path}" aria-current="page"' in answer.text, link.path


async def test_what_the_form_begins_with_is_what_its_module_accepts(tmp_path):
    async with site(tmp_path) as here:
        for module, data in EXAMPLES.items():
            here.services.registry.parse(TaskSpec(module, data, "tasks[0]"))
