"""Puts replicas into groups: each for itself, or those with the same version, zone or node together."""

from typing import Literal

from yinyang.watch.sample import Replica

By = Literal["replica", "version", "zone", "node"]
ALL_BY: tuple[By, ...] = ("replica", "version", "zone", "node")


def group_of(replica: Replica, by: By) -> str:
    """The name of a replica's group; of a replica for itself, this is its host."""
    names = {"replica": replica.host, "version": replica.version, "zone": replica.zone, "node": replica.node}
    return names[by] or f"no {by}"


def is_named(replica: Replica, by: By, name: str) -> bool:
    """Whether a user who says this name means the replica's group: a replica may be called by its short name, too."""
    return name == group_of(replica, by) or (by == "replica" and name == replica.short)
