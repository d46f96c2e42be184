"""A pipeline inside a web application: it runs from the start of the application to its end.

    pip install starlette uvicorn
    MONGODB_URI=mongodb://localhost/ uvicorn --app-dir examples web_app:app

GET /streams tells where each stream stands. The pipeline is that of `pipeline.toml` in the folder where this runs.
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
    async with pipeline.running():  # a component that can not be entered ends the start of the application
        yield  # requests are answered; then the batches in work are finished and everything is closed


async def streams(request: Request) -> JSONResponse:
    figures = request.app.state.pipeline.statistics.streams
    return JSONResponse(
        {
            name: {"state": each.state, "events": each.events, "delivery_lag": each.delivery_lag}
            for name, each in figures.items()
        }
    )


app = Starlette(routes=[Route("/streams", streams)], lifespan=lifespan)
