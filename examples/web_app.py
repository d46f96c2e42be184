"""A pipeline inside a web application. It runs as long as the application.

    pip install starlette uvicorn
    MONGODB_URI=mongodb://localhost/ uvicorn --app-dir examples web_app:app

GET /streams returns the state of each stream. The pipeline comes from `pipeline.toml` in the working directory.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rigatoni_core.config import load
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.plugins.catalog import Catalog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    pipeline = Pipeline.of(load(Path("pipeline.toml"), Catalog.discover()))
    app.state.pipeline = pipeline
    async with pipeline.running():  # raises if a component cannot open, so the application does not start
        yield  # serves requests; then finishes the batches in flight and closes everything


async def streams(request: Request) -> JSONResponse:
    figures = request.app.state.pipeline.statistics.streams
    return JSONResponse(
        {
            name: {"state": each.state, "events": each.events, "delivery_lag": each.delivery_lag}
            for name, each in figures.items()
        }
    )


app = Starlette(routes=[Route("/streams", streams)], lifespan=lifespan)
