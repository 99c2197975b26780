# Stands in for the official image of HAProxy, which deploy/compose.yaml names, where no registry can be reached: the same
# user, command, place of the configuration and signal, with HAProxy from Debian.

FROM debian:trixie-20251117-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends haproxy \
 && rm -rf /var/lib/apt/lists/*
USER haproxy
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
