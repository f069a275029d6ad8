//! Every integration test, as one program: a folder per flow.

mod fixtures;
mod running;
