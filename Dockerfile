# The worker alone: no shell, no package manager, not root.
ARG GO=golang:1.26
ARG BASE=scratch

FROM ${GO} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# timetzdata: the base has no time zones of its own. The link is for deployments that name slot_sync's command.
RUN CGO_ENABLED=0 go build -trimpath -tags timetzdata -ldflags "-s -w" -o /out/app/bin/slotsync ./cmd/slotsync \
	&& ln -s slotsync /out/app/bin/slot_sync

FROM ${BASE}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/app /app
WORKDIR /app
# For `slotsync health` as a probe; nobody outside the container can ask there.
ENV HTTP_ADDR=127.0.0.1:8080
USER 65532:65532
ENTRYPOINT ["/app/bin/slotsync"]
CMD ["foreground"]
