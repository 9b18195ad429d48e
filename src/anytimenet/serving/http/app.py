"""The application: every endpoint of the server, behind one door."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from anytimenet.core import checks
from anytimenet.core.errors import require
from anytimenet.serving.http.bodies import Receive
from anytimenet.serving.http.demo import Demo, demo_routes
from anytimenet.serving.http.door import App, Door, Scope, Send
from anytimenet.serving.http.infer import infer_routes
from anytimenet.serving.http.openapi import document
from anytimenet.serving.http.page import mount_page, mount_samples
from anytimenet.serving.http.predicting import Predict
from anytimenet.serving.http.problems import Problem
from anytimenet.serving.http.residents import Resident
from anytimenet.serving.http.service import Service
from anytimenet.serving.http.settings import Settings
from anytimenet.serving.http.telling import load_record, model_record


def create_app(
    models: Sequence[Resident],
    settings: Settings | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Application:
    """The server as an ASGI application; `app.service` is its state.

    Predictions are answered right behind the door; FastAPI routes everything else.

    It owns the models: when its lifespan ends, they are closed.

    Args:
        models: that are served, each on its `ModelServer`.
        settings: of the operator; by default those of a server for this machine alone.
        clock: seconds; that of the models' schedulers.

    Raises:
        MissingExtraError: if the packages of the extra `serve` are not installed.
        ValueError: for no model, or two of one name.
    """
    fastapi = require("fastapi", "serve")
    settings = Settings() if settings is None else settings
    checks.instance(settings, Settings, "settings", "Settings()")
    service = Service(models, settings, clock)
    demo = Demo(service) if settings.demo else None

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        if demo is not None:
            demo.close()
        service.close()

    # Its pages on the API load scripts from elsewhere, which the rules for pages here do not allow.
    app = fastapi.FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Door, service=service)
    app.add_exception_handler(require("starlette.exceptions", "serve").HTTPException, _not_found)
    predict = Predict(service)
    _add_routes(app, service, demo, predict)
    mount_samples(app, settings.samples)
    mount_page(app, settings.page)
    return Application(app, service, predict)


class Application:
    """Everything behind doors of one kind: predictions straight, the rest as FastAPI routes it.

    The framework's layers take a tenth of a millisecond of each request, and a prediction needs none of them.

    Args:
        app: of FastAPI, with a door inside.
        service: the state of the server.
        predict: what answers predictions.

    Attributes:
        service: the same.
    """

    def __init__(self, app: App, service: Service, predict: Predict) -> None:
        self._app, self._predictions, self.service = app, Door(predict, service), service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan."""
        straight = scope["type"] == "http" and scope["path"] == PREDICT and scope["method"] == "POST"
        await (self._predictions if straight else self._app)(scope, receive, send)


PREDICT = "/v1/predict"


def _add_routes(app: Any, service: Service, demo: Demo | None, predict: Predict) -> None:
    route = require("starlette.routing", "serve").Route
    responses = require("starlette.responses", "serve")
    json = responses.JSONResponse

    def told(resident: Resident) -> dict[str, Any]:
        return model_record(resident, demo=demo is not None, samples=service.settings.samples is not None)

    async def models(_: Any) -> Any:
        return json({"models": [told(one) for one in service.residents]})

    async def model(request: Any) -> Any:
        name = request.path_params.get("name") or request.query_params.get("model")
        return json(told(service.residents.of(name)))

    async def load(_: Any) -> Any:
        return json(load_record(service))

    async def healthy(_: Any) -> Any:
        return json({"status": "alive"})

    async def ready(_: Any) -> Any:
        return (
            json({"status": "ready"})
            if service.ready
            else json({"error": "the server is closing", "reason": "closing"}, 503)
        )

    async def metrics(_: Any) -> Any:
        text, kind = service.metrics.text()
        return responses.Response(text, media_type=kind)

    async def description(_: Any) -> Any:
        settings = service.settings
        return json(document(demo=settings.demo, keys=settings.keys is not None))

    # `Application` answers it; here it is for other methods, which are told that it is there.
    app.router.routes.append(route(PREDICT, predict, methods=["POST"]))
    for path, method, app_of_path in (*infer_routes(service), *demo_routes(demo)):
        app.router.routes.append(route(path, _Plain(app_of_path), methods=[method]))
    for path, endpoint in (
        ("/v1/models", models),
        ("/v1/model", model),
        ("/v1/models/{name}", model),
        ("/v1/load", load),
        ("/healthz", healthy),
        ("/readyz", ready),
        ("/metrics", metrics),
        ("/openapi.json", description),
    ):
        app.router.routes.append(route(path, endpoint, methods=["GET"]))


class _Plain:
    """A function of scope, receive and send; the router takes those for one of a request."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _not_found(request: Any, error: Any) -> Any:
    """A path or a method that does not exist, in the words of this server."""
    said = {
        404: Problem(
            404, "not_found", "there is nothing at this path: GET /openapi.json lists what there is"
        ),
        405: Problem(
            405, "method_not_allowed", "this path takes other methods: GET /openapi.json lists them"
        ),
    }
    problem = said.get(
        error.status_code, Problem(error.status_code, "bad_request", "the request cannot be served")
    )
    response = require("starlette.responses", "serve").JSONResponse(problem.record, error.status_code)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response
