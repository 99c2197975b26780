# The server as one static program in an otherwise empty image. For example:
#
#     docker build -t yinyang .
#     docker run --rm -p 8080:80 yinyang

FROM debian:trixie-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc musl-dev python3-dev python3-setuptools cython3 minify \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY setup.py pyproject.toml ./
COPY yinyang yinyang
COPY csrc csrc
COPY tools/bundle_wall.py tools/generate.py tools/static_program.py tools/
# Packed relocations, which musl reads since 1.2.4, and link-time optimisation, which leaves out the texts of unreached
# Python code, make the program smaller by a tenth.
RUN CFLAGS=-flto LDFLAGS=-Wl,-z,pack-relative-relocs python3 setup.py -q build_static

FROM scratch
ARG VERSION REVISION=unknown
LABEL org.opencontainers.image.title="yinyang" \
      org.opencontainers.image.description="A replica you can see: it paints its own host name" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION:-unknown}" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /src/build/static/yinyang /yinyang
# Nobody: the program needs no right that root has. Docker opens port 80 to every user of a container; elsewhere, where it
# is refused, the program says so: set YINYANG_PORT=8080, or the sysctl net.ipv4.ip_unprivileged_port_start=0.
USER 65534:65534
EXPOSE 80
# `docker stop` takes as much longer: a balancer gets the time to notice that /readyz is 503.
ENV YINYANG_DRAIN=3
# So that the wall shows which image a replica runs, as after `kubectl set image`. Without VERSION it is not set.
ENV YINYANG_APP_VERSION=$VERSION
# Listening on another port? Say so with YINYANG_PORT rather than --port, so that this knows too.
HEALTHCHECK --interval=30s --timeout=3s --start-period=1s CMD ["/yinyang", "--healthcheck"]
ENTRYPOINT ["/yinyang"]
