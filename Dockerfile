# The worker alone: no shell, no package manager, not root. Go cross-compiles, so an image for another processor
# (--platform linux/arm64) needs no emulation. Docker (with BuildKit), podman and buildah build it.
ARG GO=docker.io/library/golang:1.26
ARG BASE=scratch

FROM --platform=${BUILDPLATFORM} ${GO} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETARCH
# timetzdata: the base has no time zones of its own. The link is for deployments that name slot_sync's command.
RUN CGO_ENABLED=0 GOOS=linux GOARCH=${TARGETARCH} \
	go build -trimpath -tags timetzdata -ldflags "-s -w" -o /out/app/bin/slotsync ./cmd/slotsync \
	&& ln -s slotsync /out/app/bin/slot_sync

FROM ${BASE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="slotsync" \
	org.opencontainers.image.description="Keeps a Kafka topic in step with the shifts of When I Work" \
	org.opencontainers.image.source="https://github.com/slotsync/slotsync" \
	org.opencontainers.image.licenses="MIT" \
	org.opencontainers.image.revision="${REVISION}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/app /app
WORKDIR /app
USER 65532:65532
# Loopback: for the probes, which run inside. Nothing needs to reach the worker from outside.
ENV HTTP_ADDR=127.0.0.1:8080
# Docker and Compose heed this; Kubernetes has probes of its own.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["/app/bin/slotsync", "health"]
ENTRYPOINT ["/app/bin/slotsync"]
CMD ["foreground"]
