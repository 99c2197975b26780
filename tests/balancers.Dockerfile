# Stands in for the official image of a balancer, which deploy/balancers/ names, where no registry can be reached: the
# program, in the version of tests/requirements-proxies.txt.

FROM debian:trixie-20251117-slim
ARG PROGRAM
COPY $PROGRAM /usr/local/bin/
