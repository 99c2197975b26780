# The server as one static program in an otherwise empty image. For example:
#
#     docker build -t yinyang .
#     docker run --rm -p 8080:80 yinyang

# It is compiled on the builder's machine for the machine of the image, so no machine is emulated:
#
#     docker buildx build --platform linux/amd64,linux/arm64 .
#
# Docker builds it with BuildKit only; without, it says "failed to parse platform". BuildKit comes with the plugin buildx;
# Docker 20.10 has it, and uses it with DOCKER_BUILDKIT=1.

FROM --platform=$BUILDPLATFORM debian:trixie-20251117-slim AS tools
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc python3-dev python3-setuptools cython3 minify \
 && rm -rf /var/lib/apt/lists/*

# the C, which is the same for all machines
FROM tools AS generated
WORKDIR /src
COPY setup.py pyproject.toml ./
COPY yinyang yinyang
COPY csrc csrc
COPY tools/bundle_wall.py tools/generate.py tools/static_program.py tools/
RUN python3 tools/generate.py yinyang/_core.pyx build

FROM tools AS build
ARG TARGETARCH
# by Debian's name of that architecture
RUN case $TARGETARCH in arm) arch=armhf ;; 386) arch=i386 ;; ppc64le) arch=ppc64el ;; *) arch=$TARGETARCH ;; esac \
 && echo "$arch" >/arch \
 && dpkg --add-architecture "$arch" \
 && apt-get update \
 && apt-get install -y --no-install-recommends "gcc-for-host:$arch" "musl-dev:$arch" \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY --from=generated /src ./
# Packed relocations, which musl reads since 1.2.4, and link-time optimisation, which leaves out the texts of unreached
# Python code, make the program smaller by a tenth.
RUN ARCH=$(cat /arch) CFLAGS=-flto LDFLAGS=-Wl,-z,pack-relative-relocs python3 setup.py -q build_static \
 && cp "$(find build/static -name yinyang)" /yinyang

# what the program was made of and with, for the list of components of a release (tools/release.py): the system, and its
# packages, each with its source, as faults are known by the source
FROM build AS listed
RUN . /etc/os-release && echo "$ID $VERSION_ID" >/components \
 && dpkg-query --show --showformat '${Package} ${Version} ${source:Package} ${source:Version}\n' cython3 minify musl-dev \
    'python3.1?-dev' 'gcc-1?' 'gcc-1?-*-linux-gnu*' 'libgcc-*-dev*' | awk 'NF == 4' >>/components
FROM scratch AS components
COPY --from=listed /components /components

FROM scratch
ARG VERSION REVISION=unknown
LABEL org.opencontainers.image.title="yinyang" \
      org.opencontainers.image.description="A replica you can see: it paints its own host name" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION:-unknown}" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /yinyang /yinyang
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
