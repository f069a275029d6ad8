# syntax=docker/dockerfile:1
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
# Writes the list of dependencies into the program, so that `cargo audit bin roster` can judge an image later.
RUN cargo install cargo-auditable --version 0.7.7 --locked
WORKDIR /src

# The dependencies first: they change less often than the code, and take most of the time.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs tests/main.rs \
    && cargo auditable build --release --locked \
    && rm -r src tests

COPY migrations migrations
COPY fixtures fixtures
COPY src src
# The stand-ins above are newer than the files of the checkout.
RUN mkdir tests && touch src/main.rs src/lib.rs tests/main.rs \
    && cargo auditable build --release --locked --bin roster \
    && install -d -o 65532 -g 65532 /data

# Certificates come with this image; there is no shell in it.
FROM ${RUNTIME_IMAGE}
COPY --from=build /src/target/release/roster /usr/local/bin/roster
COPY --from=build --chown=65532:65532 /data /data
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/roster/
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
# PORT, and not ROSTER_LISTEN: platforms that choose the port set PORT, and ROSTER_LISTEN would win over it.
ENV DATABASE_URL=sqlite:///data/roster.db \
    PORT=8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["/usr/local/bin/roster", "health"]
ENTRYPOINT ["/usr/local/bin/roster"]
CMD ["serve"]
