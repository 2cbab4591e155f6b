"""The names and arguments of what stands in the broker."""

from __future__ import annotations

import pytest

from worker.core import routing, topology
from worker.core.attempt import Defer
from worker.core.message.copies import copy_exchange


def test_every_queue_is_a_quorum_queue_that_refuses_rather_than_drops():
    for queue in topology.topology().queues:
        assert queue.arguments["x-queue-type"] == "quorum"
        if queue.name not in {routing.DEAD_QUEUE, routing.DEATHS}:
            assert queue.arguments["x-overflow"] == "reject-publish"
            assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"


def test_the_dead_letter_queue_is_declared_first_and_loses_nothing():
    dead = topology.topology().queues[0]
    assert dead.name == routing.DEAD_QUEUE
    assert "x-message-ttl" not in dead.arguments
    assert "x-dead-letter-exchange" not in dead.arguments
    # -1 dead-letters at the first return on 3.13 and older; a large number means "never" everywhere.
    assert dead.arguments["x-delivery-limit"] == 1_000_000


def test_a_dead_job_keeps_its_lane_for_there_is_no_dead_letter_routing_key():
    for queue in topology.topology().queues:
        assert "x-dead-letter-routing-key" not in queue.arguments


def test_every_lane_has_three_priorities_and_a_binding_each():
    wanted = topology.topology()
    bound = {(one.exchange, one.routing_key): one.queue for one in wanted.bindings}
    for lane in routing.LANES:
        for priority in routing.PRIORITIES:
            assert bound[routing.JOBS, f"{lane}.{priority}"] == f"media.{lane}.{priority}"


def test_a_message_that_no_key_leads_still_gets_in():
    wanted = topology.topology()
    jobs = next(one for one in wanted.exchanges if one.name == routing.JOBS)
    assert jobs.arguments == {"alternate-exchange": routing.UNROUTED}
    assert topology.Binding(routing.UNROUTED, "media.cpu.normal") in wanted.bindings


def test_another_delay_is_another_queue():
    names = {queue.name: queue for queue in topology.topology((1.5, 60)).queues}
    assert names["media.retry.1.5s"].arguments["x-message-ttl"] == 1500
    assert names["media.retry.60s"].arguments["x-message-ttl"] == 60000


def test_an_idle_worker_asks_all_its_lanes_for_the_highest_priority_first():
    assert routing.queues_of(("cpu", "nvenc"))[:3] == ("media.cpu.high", "media.nvenc.high", "media.cpu.normal")


@pytest.mark.parametrize("name", ["media.dlq", "media.cpu", "media.cpu.urgent", "media.gpu.high", "other.cpu.high"])
def test_only_a_job_queue_has_a_route(name):
    with pytest.raises(ValueError, match="no job queue"):
        routing.route_of(name)


@pytest.mark.parametrize(
    ("seconds", "exchange"),
    [
        (0.0, "media.defer"),
        (2.5, "media.defer.1s"),
        (5.0, "media.defer"),
        (29.0, "media.defer"),
        (40, "media.retry.30s"),
    ],
)
def test_a_message_waits_about_as_long_as_its_reason_holds(seconds, exchange):
    taken = copy_exchange(Defer("w1 holds it", seconds=seconds), routing.DEFER_SECONDS, routing.DEFAULT_DELAYS)
    assert taken == exchange
    assert exchange in {one.name for one in topology.topology().exchanges}


@pytest.mark.parametrize(
    ("requirements", "lane"),
    [
        ((), "cpu"),
        (("encoder:libx264", "tool:ffmpeg"), "cpu"),
        (("encoder:h264_nvenc",), "nvenc"),
        (("encoder:libx264", "encoder:hevc_qsv"), "qsv"),
        (("encoder:av1_vaapi",), "vaapi"),
        (("tool:gource",), "visualize"),
    ],
)
def test_a_lane_follows_from_what_the_tasks_require(requirements, lane):
    assert routing.lane_of(frozenset(requirements)) == lane
