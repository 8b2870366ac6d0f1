"""Puts the dashboard together, for the one app; nothing is opened."""

import os
import socket
from functools import partial

from aiohttp import web

from streams.dashboard.board import Board
from streams.dashboard.exchange import Exchange, workers_key
from streams.dashboard.sampler import Sampler
from streams.dashboard.tasks import Tasks
from streams.dashboard.view import WorkerView
from streams.faust_app import StreamsApp
from streams.laravel.redis_client import connect
from streams.laravel.redis_keys import QueueKeys
from streams.version import product_version
from streams.web.dashboard_pages import DashboardPages, redirect
from streams.web.health import readiness
from streams.web.login import Login
from streams.web.rejected_pages import RejectedPages


def add_dashboard(app: StreamsApp) -> None:
    """Give a worker its dashboard."""
    settings, view = app.settings, WorkerView(app)
    name = f"{settings.worker_id or socket.gethostname()}-{os.getpid()}"
    exchange = Exchange(
        connect(settings.redis_url.get_secret_value()),
        key=workers_key(settings.queue_prefix, settings.topic_prefix),
        queue=QueueKeys.of(settings.queue_prefix, settings.queue_name),
        worker=name,
    )
    sampler = Sampler(
        name,
        product_version(),
        app.statistics,
        view,
        topics=(settings.raw_topic, settings.unique_topic),
        peers=exchange.peers,
        queued=lambda: exchange.queued,
    )
    tasks = Tasks(settings)
    board = Board(
        sampler,
        exchange,
        partial(readiness, app),
        view.partitions,
        group=settings.consumer_group,
        statistics=app.statistics,
        change=lambda: tasks.state,
    )
    app.boards += [board, tasks]
    login = Login(settings.web_token.get_secret_value())
    pages = DashboardPages(board, login, [RejectedPages(tasks, login)])
    app.web_routes.append(partial(_add_pages, pages))


def _add_pages(pages: DashboardPages, application: web.Application) -> None:
    application.router.add_get("/dashboard", redirect)
    application.add_subapp("/dashboard", pages.application())
    application.router.add_get("/events", pages.events)
