"""Limits for the requests to MLflow's scoring server, `mlflow models serve`.

By itself, the server reads requests of any length, repeats them in its error messages, adds
tracebacks with paths, accepts CSV and Parquet, and continues to compute after a timeout. `limit`
replaces MLflow's request handler by one of this module. Only this module depends on the server's
internals.
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import TYPE_CHECKING, Any

from flag3d_exp.data.request import MAX_BYTES, check_size, parse_request
from flag3d_exp.errors import UserError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger(__name__)
APP = "mlflow.pyfunc.scoring_server.app"
DECORATOR = "_async_catch_mlflow_exception"  # in the server's module, around its request handler
JSON = "application/json"
Answer = Callable[[list[Any], Callable[[], None]], list[dict[str, Any]]]


class TimeIsUp(Exception):
    """The server has already answered with a timeout, so the rest of the work is useless."""


def is_loading() -> bool:
    """Whether this process is MLflow's server while it loads the model, before it makes its app."""
    return APP in sys.modules


def limit(answer: Answer) -> None:
    """Make the server's next app answer requests by `answer_request`.

    Args:
        answer: (recordings of a request, a function to call between two recordings) -> the answer.
    """
    from mlflow.environment_variables import MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT
    from mlflow.pyfunc import scoring_server
    from starlette.requests import ClientDisconnect
    from starlette.responses import Response

    if not hasattr(scoring_server, DECORATOR):
        log.warning("This version of MLflow serves the model without limits on a request's length.")
        return
    seconds = float(MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT.get())
    worker = ThreadPoolExecutor(1, "classifier")  # one request at a time bounds the memory

    def in_place_of(handler: Callable) -> Callable:
        @wraps(handler)
        async def handle(request: "Request") -> "Response":
            deadline = time.monotonic() + seconds
            try:
                content = await read_content(request)
            except ClientDisconnect:
                return Response(status_code=400)
            kind = request.headers.get("content-type", "")
            loop = asyncio.get_running_loop()
            status, text = await loop.run_in_executor(
                worker, answer_request, answer, kind, content, deadline
            )
            return Response(text, status, media_type=JSON)

        return handle

    setattr(scoring_server, DECORATOR, in_place_of)


async def read_content(request: "Request") -> bytes:
    """The body of a request, cut one byte after the limit; the rest is received and dropped."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk[: MAX_BYTES + 1 - len(content)]
    return bytes(content)


def answer_request(answer: Answer, kind: str, content: bytes, deadline: float) -> tuple[int, str]:
    """HTTP status and JSON text of the answer to a request.

    Args:
        kind: the content type.
        deadline: by `time.monotonic`; after it, nobody waits for the answer.
    """

    def check_time() -> None:
        if time.monotonic() > deadline:
            raise TimeIsUp

    status = 400
    try:
        check_time()
        if kind.replace(" ", "").lower() not in (JSON, f"{JSON};charset=utf-8"):
            status = 415
            raise UserError(f"a request must be of type {JSON}, in UTF-8.")
        status = 413
        check_size(len(content))
        status = 400
        predictions = answer(parse_request(content), check_time)
        return 200, json.dumps({"predictions": predictions}, allow_nan=False)
    except UserError as error:
        return status, _refusal("INVALID_PARAMETER_VALUE", str(error))
    except TimeIsUp:
        return 504, _refusal("DEADLINE_EXCEEDED", "the request took too long.")
    except Exception:
        log.exception("a request could not be answered")
        return 500, _refusal("INTERNAL_ERROR", "the model failed; the server's log says how.")


def _refusal(code: str, message: str) -> str:
    return json.dumps({"error_code": code, "message": message})
