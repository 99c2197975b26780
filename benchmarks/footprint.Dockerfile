# The images that benchmarks/footprint.py compares with ours: --target go, go-stripped, go-packed or python.

FROM debian:trixie-20251117-slim AS go-build
RUN apt-get update \
 && apt-get install -y --no-install-recommends golang-go upx-ucl \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY benchmarks/peers/main.go .
ENV CGO_ENABLED=0 GOFLAGS=-trimpath GO111MODULE=off
RUN go build -o plain main.go \
 && go build -ldflags '-s -w' -o stripped main.go \
 && upx --best -q -o packed stripped

FROM scratch AS go
COPY --from=go-build /src/plain /server
ENTRYPOINT ["/server"]

FROM scratch AS go-stripped
COPY --from=go-build /src/stripped /server
ENTRYPOINT ["/server"]

FROM scratch AS go-packed
COPY --from=go-build /src/packed /server
ENTRYPOINT ["/server"]

FROM debian:trixie-20251117-slim AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-minimal \
 && rm -rf /var/lib/apt/lists/*
COPY build/footprint/site /site
ENV PYTHONPATH=/site
USER 65534:65534
ENTRYPOINT ["python3", "-m", "yinyang.serve"]
