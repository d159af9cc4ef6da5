# The image of every kind of process: `docker run countermand serve`, `... worker`, and so on.
# Build it with `docker build -t countermand:0.1.0 .`; docs/running.md tells how it is run.

FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/build && python -m venv /opt/countermand

# All that comes from elsewhere is pinned by hash, and nothing of it is compiled here.
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN /opt/build/bin/pip install --require-hashes --only-binary=:all: -r requirements/build.txt && \
    /opt/countermand/bin/pip install --require-hashes --only-binary=:all: -r requirements/runtime.txt

COPY LICENSE README.md pyproject.toml ./
COPY domain domain
COPY streams streams
COPY api api
COPY countermand_client countermand_client
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /build/dist . && \
    /opt/countermand/bin/pip install --no-deps --no-index /build/dist/*.whl


FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="countermand" \
      org.opencontainers.image.description="Bulk operations that can be watched live, audited and undone" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"

# Numbers, so that a cluster can tell that it is not root; they also own what is mounted at /data.
RUN groupadd --gid 10001 countermand && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data \
        --shell /usr/sbin/nologin countermand && \
    install --directory --owner=10001 --group=10001 --mode=0700 /data

COPY --from=build /opt/countermand /opt/countermand

# Everything was compiled at the installation, so the file system may be read-only: only /data
# (of `serve`: its database, its key and its lock) and /tmp are written to.
ENV PATH=/opt/countermand/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    COUNTERMAND_DATA_DIR=/data
VOLUME ["/data"]
WORKDIR /data
USER 10001:10001

# Of every kind of process, if its port is this one.
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["countermand", "health"]

ENTRYPOINT ["countermand"]
CMD ["serve"]
