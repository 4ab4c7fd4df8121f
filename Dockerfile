# The image by a container engine; scripts/image makes the same files into an archive without one.
# Both lay them out in one place, scripts/image: the program, its libraries, certificates, and no shell.

FROM rust:1.95-bookworm AS build
WORKDIR /source
# SQLite, zstd and aws-lc are built from source by the C compiler that is here (and CMake, where aws-lc asks for it).
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates cmake python3 \
    && rm -rf /var/lib/apt/lists/*
COPY . .
ARG PROFILE=release
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    cargo build --locked --profile "$PROFILE" \
    && scripts/image --binary "target/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")/mailfleet" --root /image \
    && mkdir /state && mv /image/var/lib/mailfleet /state/

FROM scratch
COPY --from=build /image /
# The ledger's folder is the user's. COPY gives an owner to what it creates and not to a folder that is there.
COPY --from=build --chown=65532:65532 /state /var/lib
# A number, so that runAsNonRoot can be checked.
USER 65532:65532
WORKDIR /var/lib/mailfleet
# The controller has few threads and many small objects: one heap, given back early, is a tenth less memory.
ENV PATH=/usr/bin MAILFLEET_STATE=/var/lib/mailfleet MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=131072
EXPOSE 9091
ENTRYPOINT ["/usr/bin/mailfleet"]
CMD ["--help"]
