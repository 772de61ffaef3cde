# One image, many roles: the command says which (see docker-compose.yml).
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 MALLOC_ARENA_MAX=2

RUN useradd --system --create-home --home-dir /home/schedulerx schedulerx \
    && mkdir /data && chown schedulerx /data

WORKDIR /app
COPY requirements.lock pyproject.toml README.md ./
RUN python -m pip install --require-hashes -r requirements.lock
COPY . .
RUN python -m pip install --no-deps --no-build-isolation .

USER schedulerx
VOLUME /data
CMD ["schedulerx", "doctor"]
