# Stands in for the official image of Locust, which deploy/compose.locust.yaml names, where no registry can be reached:
# the same entry point, an ordinary user. /certificates are those of the machine that builds it.

FROM debian:trixie-20251117-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY requirements-load.txt /
RUN python3 -m venv /opt/venv \
 && PIP_CERT=/certificates/ca-certificates.crt /opt/venv/bin/pip install -q --no-cache-dir -r /requirements-load.txt
RUN useradd --create-home locust
USER locust
WORKDIR /home/locust
ENTRYPOINT ["/opt/venv/bin/locust"]
