"""The use cases of operators, whoever asks: a terminal, the page, the API.

Each use case is an async function over `Control`: it returns frozen values and raises errors whose words every face
shows as they are. `Refused` and its branches (`NotFound`, `Conflict`) say that it cannot be done and what can;
`InvalidJob` lists every problem of a document.
"""

from worker.control.errors import Conflict, NotFound, Refused
from worker.control.resources import Control

__all__ = ["Conflict", "Control", "NotFound", "Refused"]
