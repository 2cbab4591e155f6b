"""The nodes of a broker, as the setting names them."""

from __future__ import annotations

import pytest

from worker.core.brokers import broker_urls


@pytest.mark.parametrize(
    ("told", "urls"),
    [
        ("amqp://u:p@a:5672/", ("amqp://u:p@a:5672/",)),
        ("amqp://u:p@a/,amqps://u:p@b/", ("amqp://u:p@a/", "amqps://u:p@b/")),
        (" amqp://a/v , amqp://b/v ", ("amqp://a/v", "amqp://b/v")),
        ("amqp://u:p,w@a/,amqp://u:p,w@b/", ("amqp://u:p,w@a/", "amqp://u:p,w@b/")),
    ],
)
def test_the_nodes_of_a_cluster_are_comma_separated(told, urls):
    assert broker_urls(told) == urls
