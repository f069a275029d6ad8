
mod fixtures;
