# The worker and the commands in one image: docker run … worker | ingest | setup | tenants | …

# PYTHON may name it by its digest: docs/operations.md.
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS build
# Faust publishes no wheel for Linux on ARM: there it is compiled. Its pure-Python form must not be used.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
ENV UV_NO_CACHE=1 VIRTUAL_ENV=/venv
COPY requirements.lock pyproject.toml ./
# uv itself as the lock file has it: its lines end at the first one without a backslash.
RUN awk '/^uv==/ { on = 1 } on { print } on && !/\\$/ { exit }' requirements.lock > uv.lock \
    && pip install --no-cache-dir --require-hashes --no-deps -r uv.lock \
    && uv venv /venv \
    && uv pip install --require-hashes --requirement pyproject.toml --extra otel --constraint requirements.lock
COPY README.md LICENSE metric_streams.py ./
COPY streams streams
COPY agents agents
COPY tables tables
RUN uv pip install --no-deps --build-constraint requirements.lock .

FROM ${PYTHON}
ARG VERSION=0.1.0 REVISION=unknown
LABEL org.opencontainers.image.title="metric-streams" \
    org.opencontainers.image.description="Carries every MQTT metric into the Laravel ingestion job" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
RUN useradd --system --uid 10001 --no-create-home metric-streams
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER metric-streams
WORKDIR /tmp
EXPOSE 6066 6067
# For the worker; it needs no token. Commands that end switch it off, ingest has its own (see docker-compose.yml).
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:6066/health/ready', timeout=4)"]
ENTRYPOINT ["metric-streams"]
CMD ["worker", "--loglevel", "info"]
