"""The nodes of a broker, as the setting names them."""

from __future__ import annotations

import pytest

from worker.app.components import refuse_shared_sqlite
from worker.core.brokers import broker_urls
from worker.core.errors import Misconfigured
from worker.settings import Settings


@pytest.mark.parametrize(
    ("stated", "urls"),
    [
        ("amqp://u:p@a:5672/", ("amqp://u:p@a:5672/",)),
        ("amqp://u:p@a/,amqps://u:p@b/", ("amqp://u:p@a/", "amqps://u:p@b/")),
        (" amqp://a/v , amqp://b/v ", ("amqp://a/v", "amqp://b/v")),
        ("amqp://u:p,w@a/,amqp://u:p,w@b/", ("amqp://u:p,w@a/", "amqp://u:p,w@b/")),
    ],
)
def test_the_nodes_of_a_cluster_are_comma_separated(stated, urls):
    assert broker_urls(stated) == urls


def test_sqlite_is_refused_where_one_node_of_the_broker_is_on_another_host():
    near, far = "amqp://u:p@127.0.0.1/", "amqp://u:p@anna/"
    refuse_shared_sqlite(Settings(_env_file=None, broker_url=f"{near},{near}", database_url="sqlite:///x.db"))
    with pytest.raises(Misconfigured, match="the broker is on anna"):
        refuse_shared_sqlite(Settings(_env_file=None, broker_url=f"{near},{far}", database_url="sqlite:///x.db"))
