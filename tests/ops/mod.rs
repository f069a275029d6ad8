//! What the program says about itself to those who run it.

mod commands;
mod console;
mod counting;
mod families;
mod listener;
mod loudness;
mod scrape;
mod traces;
mod watched;
mod watching;
