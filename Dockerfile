# The server as one static program in an otherwise empty image. For example:
#
#     docker build -t yinyang .
#     docker run --rm -p 8080:80 yinyang

FROM debian:trixie-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc lld musl-dev python3-dev python3-setuptools python3-rjsmin cython3 zopfli \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY setup.py pyproject.toml ./
COPY yinyang yinyang
COPY csrc csrc
# Built with these, of setup.py, beside what makes it small:
#   -fstack-protector-strong    an overflowing buffer ends the process before its function returns
#   -fPIE -static-pie           the program is at another address each time it starts
#   -Wl,-z,relro,-z,now         what the start fills in, such as addresses of functions, is read-only from then on; here
#                               nothing is filled in, as the build makes sure, and with rodynamic nothing but zeros
#                               is writable at all
#   -Wl,-z,noexecstack          the stack cannot be executed; nor can anything else that can be written
RUN LDFLAGS='-fuse-ld=lld -Wl,-z,rodynamic' python3 setup.py -q build_static

FROM scratch
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="yinyang" \
      org.opencontainers.image.description="A replica you can see: it paints its own host name" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /src/build/static/yinyang /yinyang
# Nobody: the program needs no right that root has. Docker opens port 80 to every user of a container; elsewhere, where it
# is refused, the program says so: set YINYANG_PORT=8080, or the sysctl net.ipv4.ip_unprivileged_port_start=0.
USER 65534:65534
EXPOSE 80
# Listening on another port? Say so with YINYANG_PORT rather than --port, so that this knows too.
HEALTHCHECK --interval=30s --timeout=3s --start-period=1s CMD ["/yinyang", "--healthcheck"]
ENTRYPOINT ["/yinyang"]
