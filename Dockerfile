# A server of one or more exported nets, without PyTorch:
#
#   anytimenet export runs/photos --format native --out models/photos
#   docker build -t anytimenet .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/models:/models:ro" anytimenet /models/photos
#
# Inside the container the server listens on all interfaces, so that the port can be published at all. Publish it
# on the loopback interface, as above, or give it keys (--api-key-file) before anybody else can reach it.

FROM python:3.12-slim-bookworm AS build
# The compiler's version does not matter to what is built, so Debian's present one is taken.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ cmake ninja-build \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src ./src
# Without the native engine there is no wheel: a server of another speed than it was tested with helps nobody.
ENV ANYTIMENET_REQUIRE_NATIVE=1
# Versions are those of constraints.txt, where hadolint does not look.
# hadolint ignore=DL3013,DL3042
RUN pip wheel --no-cache-dir --constraint constraints.txt --wheel-dir /wheels ".[serve,runtime]"

FROM python:3.12-slim-bookworm
COPY --from=build /wheels /wheels
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --no-index --find-links /wheels "anytimenet[serve,runtime]" \
    && rm -rf /wheels \
    && useradd --system --uid 10001 --no-create-home serve
USER 10001
# One thread a request: cores work on different requests, not on parts of one.
ENV OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 ANYTIMENET_CACHE=/tmp/anytimenet
EXPOSE 8000
# `docker stop` sends SIGTERM: requests in flight are answered first.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=2s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=1).close()"]
ENTRYPOINT ["anytimenet", "serve", "--host", "0.0.0.0", "--port", "8000"]
