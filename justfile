# Run with nothing but Rust: a simulated Clerk, fixtures, ready-made tokens.
dev *ARGS:
    cargo run --release -- dev {{ARGS}}

# Every test but the console's and Litestream's.
test *ARGS:
    cargo test --locked {{ARGS}}

# What has to pass before a change goes in.
check:
    .ci/run

# What SECURITY.md promises, each with its tests and what came of them.
promises:
    .ci/promises

# How fast it is, beside nginx and Node: see benches/README.md.
bench *ARGS:
    cargo bench --bench load -- {{ARGS}}

# Put the code into its form.
fmt:
    cargo fmt

# The image.
image TAG="roster:dev":
    docker build -t {{TAG}} .
