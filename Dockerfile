# One image, many roles: the command says which (see docker-compose.yml).
FROM python:3.13-slim AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

RUN python -m venv /opt/schedulerx
ENV PATH=/opt/schedulerx/bin:$PATH

WORKDIR /src
# What changes seldom first: the libraries are built again only when the lock changes.
COPY requirements.lock ./
RUN python -m pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md celeryconfig.py ./
COPY db ./db
COPY media ./media
COPY platforms ./platforms
COPY scheduler ./scheduler
COPY stack ./stack
COPY workers ./workers
RUN python -m pip install --no-deps --no-build-isolation .

FROM python:3.13-slim

ENV PATH=/opt/schedulerx/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2 \
    SCHEDULERX_HOME=/data

# A fixed number, so that a volume keeps its owner when the image is built again.
RUN groupadd --gid 10001 schedulerx \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin schedulerx \
    && install -d -o 10001 -g 10001 -m 0700 /data

COPY --from=build /opt/schedulerx /opt/schedulerx

USER 10001:10001
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=20s --start-period=60s --retries=2 CMD ["schedulerx", "health"]
CMD ["schedulerx", "doctor"]
