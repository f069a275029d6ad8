//! What the program says about itself to those who run it.

mod commands;
mod console;
mod counting;
mod families;
mod listener;
mod scrape;
mod watched;
mod watching;
