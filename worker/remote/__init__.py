"""The use cases over the API of a server: the same values, the same words, without the broker's or database's password.

It is a second implementation of `worker.control.operations`; what the server refuses is raised as the error that the
use case would have raised here.
"""

from worker.remote.operations import Remote, connected

__all__ = ["Remote", "connected"]
